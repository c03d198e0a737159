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
		return k.find(q, nil)
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
	if q.host.IsZero() && q.kind == message.KindHosts {
		return k.members.All()
	}
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

	message.KindHosts:     "hosts",
	message.KindListeners: "listeners",
}

// find makes the answer to a query. f is what other queries share of it, or nil.
func (k *Queries) find(q queryKey, f *sharedAnswer) answer {
	began := time.Now()
	a := k.findUnobserved(q, f)
	if k.observe != nil {
		k.observe(kinds[q.kind], a.truth.Complete, time.Since(began))
	}
	return a
}

func (k *Queries) findUnobserved(q queryKey, f *sharedAnswer) answer {
	g := k.gather(q)
	if lacking(q, g.replies) != nil {
		turns := k.turns(q)
		now, other, ok := k.takeTurn(turns, q, f)
		switch {
		case other != nil:
			<-other.done
			return other.answer
		case !ok:
			return answer{}
		case !now: // a query that shares the answer can be later than the replies
			g = k.gather(q)
		}
		defer func() { <-turns }()
		k.complete(q, g, lacking(q, g.replies))
	}
	a := merge(q, g.replies)
	for _, s := range g.streams {
		if !s.isWhole() {
			g.missing = append(g.missing, s.pod.Name())
		}
	}
	// A pod that fell silent meanwhile is neither among the named ones nor among those of before.
	g.missing = append(g.missing, k.members.Unreachable(q.host, q.scope)...)
	knows := g.knows && k.members.Joined(q.host)
	a.truth = NewTruth(q.scope == membership.ScopePod || knows, g.missing) // of this pod alone, nothing is missing
	a.truth.TooMany = a.tooMany
	return a
}

// gathered is the replies to a query so far.
type gathered struct {
	knows   bool   // this pod knew which pods to ask
	seed    uint64 // of hashes
	replies []podReply
	missing []string      // names of pods that did not reply
	streams []*hashStream // of pods whose hashes were left out of their replies
}

// gather asks all pods of the query. Their replies can lack long lists.
func (k *Queries) gather(q queryKey) *gathered {
	g := &gathered{knows: k.members.Joined(q.host), seed: link.Random(), missing: k.members.Unreachable(q.host, q.scope)}
	named := k.named(q)
	if len(named) == 0 {
		g.replies = k.own(q.message(0), false)
		return g
	}
	subject := k.link.Queries()
	if q.scope == membership.ScopeDC {
		subject = k.link.QueriesOf(k.link.Self().DC)
	}
	var own []podReply
	replies, silent := k.request(*q.message(g.seed), named, func(query *message.Query) {
		k.link.SendBundled(subject, named, query)
		own = k.own(query, k.anyLocal(named))
	})
	g.replies, g.missing = append(replies, own...), append(g.missing, silent...)
	return g
}

// request sends a query, and returns the replies of the pods, and the names of those that do not
// reply.
func (k *Queries) request(query message.Query, pods []link.Peer, send func(query *message.Query)) (replies []podReply, missing []string) {
	col := k.collect(pods)
	query.ID = col.id
	send(&query)
	k.wait(col, query)
	k.forget(col)
	return col.result()
}

// sendTo sends a query to pods in their inboxes.
func (k *Queries) sendTo(pods []link.Peer, query *message.Query) {
	for _, p := range pods {
		k.link.Send(k.link.Inbox(p), query)
	}
}

// own returns this pod's reply.
func (k *Queries) own(query *message.Query, hashes bool) []podReply {
	return []podReply{{Peer: k.link.Self(), parts: []*message.Reply{k.responder.reply(k.link.Self(), query, hashes)}}}
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

func (q queryKey) message(seed uint64) *message.Query {
	return &message.Query{
		Kind: q.kind, Host: q.host, Channel: q.channel, User: q.user, Raw: q.per.Raw(),
		Info: q.per&presence.WithInfo != 0, Seed: seed, Page: q.page, Call: q.call,
	}
}
