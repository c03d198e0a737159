package cluster

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// ask answers a query. If the context ends before, the answer is empty and not complete.
func (k *queries) ask(ctx context.Context, q queryKey) answer {
	if len(k.named(q)) == 0 {
		return k.find(q)
	}
	f := k.share(q)
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
	}
	select {
	case <-f.done:
		return f.answer
	default:
		return answer{}
	}
}

// named returns the pods that must reply.
func (k *queries) named(q queryKey) []peer {
	if q.host.IsZero() || q.channel != "" && presence.CheckChannel(q.channel) != nil || q.user != "" && presence.CheckUserID(q.user) != nil {
		return nil // no pod can have it
	}
	return k.members.serving(q.host, q.scope, true)
}

// kinds has the names of queries for [Config.Observe].
var kinds = map[message.QueryKind]string{
	message.KindCount:   "count",
	message.KindMembers: "members",
	message.KindUsers:   "users",
	message.KindExplain: "explain",
	message.KindNames:   "channels",
}

// find makes the answer to a query.
func (k *queries) find(q queryKey) answer {
	began := time.Now()
	knows := k.members.KnowsPods()
	missing := k.members.unreachable(q.host, q.scope)
	named := k.named(q)
	var replies []podReply
	if len(named) == 0 {
		replies = k.own(q.message(0, 0), false)
	} else {
		subject := k.link.queries()
		if q.scope == ScopeDC {
			subject = k.link.queriesOf(k.link.Self().dc)
		}
		col := k.collect(named)
		query := q.message(col.id, random())
		k.link.send(subject, query)
		own := k.own(query, k.anyLocal(named))
		col.wait(nil, k.stop)
		k.forget(col)
		var silent []string
		replies, silent = col.result()
		replies = append(replies, own...)
		missing = append(missing, silent...)
		// A pod that was found dead meanwhile may have made its data center count as partitioned.
		missing = append(missing, k.members.unreachable(q.host, q.scope)...)
		knows = knows && k.members.KnowsPods()
	}
	a := merge(q, replies)
	a.truth = newTruth(q.scope == ScopePod || knows, missing) // of this pod alone, nothing is missing
	if k.observe != nil {
		k.observe(kinds[q.kind], a.truth.Complete, time.Since(began))
	}
	return a
}

// own returns this pod's reply.
func (k *queries) own(query *message.Query, hashes bool) []podReply {
	return []podReply{{peer: k.link.Self(), parts: []*message.Reply{k.responder.reply(query, hashes)}}}
}

// anyLocal reports whether one of the pods is in this data center.
func (k *queries) anyLocal(pods []peer) bool {
	for _, p := range pods {
		if !k.members.remote(p) {
			return true
		}
	}
	return false
}

func (q queryKey) message(id, seed uint64) *message.Query {
	return &message.Query{ID: id, Kind: q.kind, Host: q.host, Channel: q.channel, User: q.user, Raw: q.per == presence.PerConnection, Seed: seed}
}
