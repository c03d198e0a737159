package query

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// ask answers a query. If the context ends before, the answer is empty and not complete.
func (k *Queries) ask(ctx context.Context, q queryKey) answer {
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
func (k *Queries) named(q queryKey) []link.Peer {
	if q.host.IsZero() || len(q.page.Prefix) > presence.MaxChannelName || q.channel != "" && presence.CheckChannel(q.channel) != nil || q.user != "" && presence.CheckUserID(q.user) != nil {
		return nil // no pod can have it
	}
	return k.members.Serving(q.host, q.scope, true)
}

// kinds has the names of queries for observe.
var kinds = map[message.QueryKind]string{
	message.KindCount:   "count",
	message.KindMembers: "members",
	message.KindUsers:   "users",
	message.KindExplain: "explain",
	message.KindNames:   "channels",

	message.KindOnline:     "online",
	message.KindDisconnect: "disconnect",
	message.KindLeave:      "leave",

	message.KindLast: "last_event",
}

// find makes the answer to a query.
func (k *Queries) find(q queryKey) answer {
	began := time.Now()
	knows := k.members.KnowsPods()
	missing := k.members.Unreachable(q.host, q.scope)
	named := k.named(q)
	var replies []podReply
	if len(named) == 0 {
		replies = k.own(q.message(0, 0), false)
	} else {
		subject := k.link.Queries()
		if q.scope == membership.ScopeDC {
			subject = k.link.QueriesOf(k.link.Self().DC)
		}
		col := k.collect(named)
		query := q.message(col.id, link.Random())
		k.link.Send(subject, query)
		own := k.own(query, k.anyLocal(named))
		k.wait(col, *query)
		k.forget(col)
		var silent []string
		replies, silent = col.result()
		replies = append(replies, own...)
		missing = append(missing, silent...)
	}
	// A pod that fell silent meanwhile is neither among the named ones nor among those of before.
	missing = append(missing, k.members.Unreachable(q.host, q.scope)...)
	knows = knows && k.members.KnowsPods()
	a := merge(q, replies)
	a.truth = NewTruth(q.scope == membership.ScopePod || knows, missing) // of this pod alone, nothing is missing
	if k.observe != nil {
		k.observe(kinds[q.kind], a.truth.Complete, time.Since(began))
	}
	return a
}

// own returns this pod's reply.
func (k *Queries) own(query *message.Query, hashes bool) []podReply {
	return []podReply{{Peer: k.link.Self(), parts: []*message.Reply{k.responder.reply(query, hashes)}}}
}

// anyLocal reports whether one of the pods is in this data center.
func (k *Queries) anyLocal(pods []link.Peer) bool {
	for _, p := range pods {
		if !k.members.Remote(p) {
			return true
		}
	}
	return false
}

func (q queryKey) message(id, seed uint64) *message.Query {
	return &message.Query{
		ID: id, Kind: q.kind, Host: q.host, Channel: q.channel, User: q.user, Raw: q.per.Raw(),
		Info: q.per&presence.WithInfo != 0, Seed: seed, Page: q.page, Call: q.call,
	}
}
