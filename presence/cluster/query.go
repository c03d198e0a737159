package cluster

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Truth is how complete an answer is.
type Truth struct {
	Complete bool
	// Missing has the pods that should have replied and did not, as DC/POD, sorted. It can be empty
	// even if Complete is false: right after its start, a pod does not know which pods to ask.
	Missing []string
}

// DataCenter is the part of a host in a data center.
type DataCenter struct {
	Name          string
	Authenticated int // distinct users; with [presence.PerConnection], connections with a user
	Anonymous     int // connections without a user
	// Users has one entry for each user, sorted by ID; with [presence.PerConnection], one for each
	// connection. It is nil if not requested, and otherwise not nil.
	Users []presence.User
}

// PodConnection is a connection of a user, with its pod.
type PodConnection struct {
	DataCenter string
	Pod        string
	message.Connection
}

// queryKey identifies a query. Equal queries share an answer.
type queryKey struct {
	kind          message.QueryKind
	host          presence.HostName
	scope         Scope
	channel, user string
	per           presence.Per
}

// answer is the answer to a query. One field besides truth is set.
type answer struct {
	truth       Truth
	dcs         []DataCenter
	listings    []presence.Listing
	connections []PodConnection
}

// AllUsers returns the numbers of the host in each data center that serves it, sorted by name, and
// its users if members is set. A data center without a reply is left out. The results are shared
// and must not be changed.
func (k *asker) AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]DataCenter, Truth) {
	kind := message.KindCount
	if members {
		kind = message.KindMembers
	}
	a := k.ask(ctx, queryKey{kind: kind, host: host, scope: ScopeAll, per: per})
	return a.dcs, a.truth
}

// Users lists the active channels of the host like [presence.Host.Channels]. The results are shared
// and must not be changed.
func (k *asker) Users(
	ctx context.Context, host presence.HostName, scope Scope, per presence.Per,
) ([]presence.Listing, Truth) {
	a := k.ask(ctx, queryKey{kind: message.KindUsers, host: host, scope: scope, per: per})
	return a.listings, a.truth
}

// ChannelUsers lists one channel like [presence.Host.Channel]. The list is empty if the channel is
// not active. The results are shared and must not be changed.
func (k *asker) ChannelUsers(
	ctx context.Context, host presence.HostName, scope Scope, channel string, per presence.Per,
) ([]presence.Listing, Truth) {
	if channel == "" { // an empty name means all channels in a query, and no channel has it
		return nil, Truth{Complete: true}
	}
	a := k.ask(ctx, queryKey{kind: message.KindUsers, host: host, scope: scope, channel: channel, per: per})
	return a.listings, a.truth
}

// Channels lists the active channels of the host like [presence.Host.ActiveChannels]. The results
// are shared and must not be changed.
func (k *asker) Channels(ctx context.Context, host presence.HostName, scope Scope) ([]presence.Listing, Truth) {
	a := k.ask(ctx, queryKey{kind: message.KindNames, host: host, scope: scope})
	return a.listings, a.truth
}

// Explain returns the connections of a user, with the pods that they are on.
func (k *asker) Explain(ctx context.Context, host presence.HostName, user string) ([]PodConnection, Truth) {
	a := k.ask(ctx, queryKey{kind: message.KindExplain, host: host, scope: ScopeAll, user: user})
	return a.connections, a.truth
}

// ask answers a query. If the context ends before, the answer is empty and not complete.
func (k *asker) ask(ctx context.Context, q queryKey) answer {
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
func (k *asker) named(q queryKey) []peer {
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
func (k *asker) find(q queryKey) answer {
	began := time.Now()
	knows := k.members.pulse.knowsPods()
	missing := k.members.unreachable(q.host, q.scope)
	named := k.named(q)
	var replies []podReply
	if len(named) == 0 {
		replies = k.own(q.message(0, 0), false)
	} else {
		subject := k.link.queries()
		if q.scope == ScopeDC {
			subject = k.link.queriesOf(k.link.self.dc)
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
		knows = knows && k.members.pulse.knowsPods()
	}
	a := merge(q, replies)
	a.truth.Missing = distinct(missing)
	a.truth.Complete = q.scope == ScopePod || knows && len(a.truth.Missing) == 0
	if k.observe != nil {
		k.observe(kinds[q.kind], a.truth.Complete, time.Since(began))
	}
	return a
}

// own returns this pod's reply.
func (k *asker) own(query *message.Query, hashes bool) []podReply {
	return []podReply{{peer: k.link.self, parts: []*message.Reply{k.responder.reply(query, hashes)}}}
}

// anyLocal reports whether one of the pods is in this data center.
func (k *asker) anyLocal(pods []peer) bool {
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
