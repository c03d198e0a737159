package cluster

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Truth says what an answer is worth.
type Truth struct {
	Complete bool
	// Missing are the pods that should have answered and did not, as DC/POD, in order. It can be empty when Complete is not
	// set: right after the start, a pod does not know whom to ask.
	Missing []string
}

// DataCenter is what a data center has of a host.
type DataCenter struct {
	Name          string
	Authenticated int // distinct users; by [presence.PerConnection], connections with a user
	Anonymous     int // connections without one
	// Users are in the order of their IDs, one entry each; by [presence.PerConnection], one entry a connection. Nil unless asked
	// for, and then empty rather than nil.
	Users []presence.User
}

// PodConnection is a connection of a user, and where it is.
type PodConnection struct {
	DataCenter string
	Pod        string
	message.Connection
}

// inquiry is what an answer is about. Who asks the same gets the same answer.
type inquiry struct {
	kind          message.QueryKind
	host          presence.HostName
	scope         Scope
	channel, user string
	per           presence.Per
}

// answer is what became of a question, of which one field beside truth is set.
type answer struct {
	truth       Truth
	dcs         []DataCenter
	listings    []presence.Listing
	connections []PodConnection
}

// AllUsers says how many are connected to the host in each data center that serves it, in the order of their names, and
// with members set who. A data center of which no pod replied is left out. The results are shared and must not be changed.
func (k *asker) AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]DataCenter, Truth) {
	kind := message.KindCount
	if members {
		kind = message.KindMembers
	}
	a := k.ask(ctx, inquiry{kind: kind, host: host, scope: ScopeAll, per: per})
	return a.dcs, a.truth
}

// Users lists the active channels of the host as [presence.Host.Channels] does. The results are shared and must not be
// changed.
func (k *asker) Users(
	ctx context.Context, host presence.HostName, scope Scope, per presence.Per,
) ([]presence.Listing, Truth) {
	a := k.ask(ctx, inquiry{kind: message.KindUsers, host: host, scope: scope, per: per})
	return a.listings, a.truth
}

// ChannelUsers lists one channel as [presence.Host.Channel] does; the list is empty when the channel is not active. The
// results are shared and must not be changed.
func (k *asker) ChannelUsers(
	ctx context.Context, host presence.HostName, scope Scope, channel string, per presence.Per,
) ([]presence.Listing, Truth) {
	if channel == "" { // no channel has that name, and in a query it stands for all channels
		return nil, Truth{Complete: true}
	}
	a := k.ask(ctx, inquiry{kind: message.KindUsers, host: host, scope: scope, channel: channel, per: per})
	return a.listings, a.truth
}

// Channels lists the active channels of the host as [presence.Host.ActiveChannels] does. The results are shared and must not be
// changed.
func (k *asker) Channels(ctx context.Context, host presence.HostName, scope Scope) ([]presence.Listing, Truth) {
	a := k.ask(ctx, inquiry{kind: message.KindNames, host: host, scope: scope})
	return a.listings, a.truth
}

// Explain returns the connections of a user, with the pods that they are on.
func (k *asker) Explain(ctx context.Context, host presence.HostName, user string) ([]PodConnection, Truth) {
	a := k.ask(ctx, inquiry{kind: message.KindExplain, host: host, scope: ScopeAll, user: user})
	return a.connections, a.truth
}

// ask answers a question. If the context ends before, the answer is empty and not complete.
func (k *asker) ask(ctx context.Context, q inquiry) answer {
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

// named returns the pods that have to answer.
func (k *asker) named(q inquiry) []peer {
	if q.host.IsZero() || q.channel != "" && presence.CheckChannel(q.channel) != nil || q.user != "" && presence.CheckUserID(q.user) != nil {
		return nil // no pod can have it
	}
	return k.members.serving(q.host, q.scope, true)
}

// kinds are the names of questions for [Config.Observe].
var kinds = map[message.QueryKind]string{
	message.KindCount:   "count",
	message.KindMembers: "members",
	message.KindUsers:   "users",
	message.KindExplain: "explain",
	message.KindNames:   "channels",
}

// find finds the answer.
func (k *asker) find(q inquiry) answer {
	began := time.Now()
	knows := k.members.pulse.knows()
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
		col := k.begin(named)
		query := q.message(col.id, random())
		k.link.send(subject, query)
		own := k.own(query, k.anyLocal(named))
		col.wait(nil, k.stop)
		k.end(col)
		var silent []string
		replies, silent = col.result()
		replies = append(replies, own...)
		missing = append(missing, silent...)
		// Who turned out to be gone meanwhile may have taken the rest of its data center along.
		missing = append(missing, k.members.unreachable(q.host, q.scope)...)
		knows = knows && k.members.pulse.knows()
	}
	a := merge(q, replies)
	a.truth.Missing = distinct(missing)
	a.truth.Complete = q.scope == ScopePod || knows && len(a.truth.Missing) == 0
	if k.observe != nil {
		k.observe(kinds[q.kind], a.truth.Complete, time.Since(began))
	}
	return a
}

// own is this pod's part of an answer.
func (k *asker) own(query *message.Query, hashes bool) []podReply {
	return []podReply{{peer: k.link.self, replies: []*message.Reply{k.responder.reply(query, hashes)}}}
}

// anyLocal reports whether one of the pods is of this data center.
func (k *asker) anyLocal(pods []peer) bool {
	for _, p := range pods {
		if !k.members.remote(p) {
			return true
		}
	}
	return false
}

func (q inquiry) message(id, seed uint64) *message.Query {
	return &message.Query{ID: id, Kind: q.kind, Host: q.host, Channel: q.channel, User: q.user, Raw: q.per == presence.PerConnection, Seed: seed}
}
