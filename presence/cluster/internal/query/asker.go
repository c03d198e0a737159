package query

import (
	"context"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Truth is how complete an answer is.
type Truth struct {
	Complete bool
	// Missing has the pods that should have replied and did not, as DC/POD, sorted. It can be empty
	// even if Complete is false: right after its start, a pod does not know which pods to ask.
	Missing []string
	// TooMany is the number of entries of a list that was left out because they are more than
	// [MaxListed]; 0 if it was not.
	TooMany int
}

// NewTruth returns how complete an answer is that lacks the missing pods. knows is whether this pod
// knew which pods to ask.
func NewTruth(knows bool, missing []string) Truth {
	missing = distinct(missing)
	return Truth{Complete: knows && len(missing) == 0, Missing: missing}
}

// And returns how complete an answer is that needs two answers.
func (t Truth) And(other Truth) Truth {
	return NewTruth(t.Complete && other.Complete, slices.Concat(t.Missing, other.Missing))
}

// DataCenter is the part of a host in a data center.
type DataCenter struct {
	Name          string
	Authenticated int // distinct users; with [presence.PerConnection], connections with a user
	Anonymous     int // connections without a user
	// Users has one entry for each user, sorted by ID; with [presence.PerConnection], one for each
	// connection. It is nil if not requested, and if the pods together have over [MaxListed] of
	// them: Authenticated is then the sum of the pods. Otherwise it is not nil.
	Users []presence.User
}

// PodConnection is a connection of a user, with its pod.
type PodConnection struct {
	DataCenter string
	Pod        string
	message.Connection
}

// OnlineUser is a user with a connection.
type OnlineUser struct {
	presence.User
	Connections int
	DataCenters []string // in which it has one, sorted
}

// queryKey identifies a query. Equal queries share an answer.
type queryKey struct {
	kind          message.QueryKind
	host          presence.HostName
	scope         membership.Scope
	channel, user string
	per           presence.Per
	page          presence.Page
	call          *message.Call // each has its own, so that no answer is shared
}

// answer is the answer to a query. One field besides truth and next is set.
type answer struct {
	truth       Truth
	dcs         []DataCenter
	listings    []presence.Listing
	tooMany     int    // number of listings that were left out; 0 if they were not
	next        string // see [presence.MergePages]
	connections []PodConnection
	online      []OnlineUser
	count       int                 // see message.KindDisconnect and KindLeave
	event       *presence.LastEvent // nil if no pod keeps one
	hosts       []PodHost
	listeners   []PodListener // listings has the channel once for each pod, in the order of the pods
}

// Asker asks about hosts. It has the queries that callers of the cluster use.
type Asker struct{ queries *Queries }

// AllUsers returns the numbers of the host in each data center that serves it, sorted by name, and
// its users if members is set. A data center without a reply is left out. The results are shared
// and must not be changed.
func (k Asker) AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]DataCenter, Truth) {
	kind := message.KindCount
	if members {
		kind = message.KindMembers
	}
	a := k.queries.ask(ctx, queryKey{kind: kind, host: host, scope: membership.ScopeAll, per: per})
	return a.dcs, a.truth
}

// Users lists the active channels of a page like [presence.Host.Page], and returns the After of the
// next page. The zero page has all channels. Without a limit, there is no list of more than
// [MaxListed] entries, see [Truth]. The results are shared and must not be changed.
func (k Asker) Users(
	ctx context.Context, host presence.HostName, scope membership.Scope, per presence.Per, page presence.Page,
) (list []presence.Listing, next string, truth Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindUsers, host: host, scope: scope, per: per, page: page})
	return a.listings, a.next, a.truth
}

// ChannelUsers lists one channel like [presence.Host.Channel]. The list is empty if the channel is
// not active. The results are shared and must not be changed.
func (k Asker) ChannelUsers(
	ctx context.Context, host presence.HostName, scope membership.Scope, channel string, per presence.Per,
) ([]presence.Listing, Truth) {
	if channel == "" { // an empty name means all channels in a query, and no channel has it
		return nil, Truth{Complete: true}
	}
	a := k.queries.ask(ctx, queryKey{kind: message.KindUsers, host: host, scope: scope, channel: channel, per: per})
	return a.listings, a.truth
}

// Channels lists the active channels of the host like [presence.Host.ActiveChannels]. The results
// are shared and must not be changed.
func (k Asker) Channels(ctx context.Context, host presence.HostName, scope membership.Scope) ([]presence.Listing, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindNames, host: host, scope: scope})
	return a.listings, a.truth
}

// Explain returns the connections of a user, with the pods that they are on.
func (k Asker) Explain(ctx context.Context, host presence.HostName, user string) ([]PodConnection, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindExplain, host: host, scope: membership.ScopeAll, user: user})
	return a.connections, a.truth
}

// Online returns the users among the given ones that have a connection, sorted by ID.
func (k Asker) Online(ctx context.Context, host presence.HostName, users []string) ([]OnlineUser, Truth) {
	call := &message.Call{Users: users}
	a := k.queries.ask(ctx, queryKey{kind: message.KindOnline, host: host, scope: membership.ScopeAll, call: call})
	return a.online, a.truth
}

// Disconnect closes connections, see [Local], on all pods, and returns their number. A missing pod
// may have done it, or not.
func (k Asker) Disconnect(ctx context.Context, host presence.HostName, channel string, call *message.Call) (int, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindDisconnect, host: host, scope: membership.ScopeAll, channel: channel, call: call})
	return a.count, a.truth
}

// LeaveChannels ends memberships, see [Local], on all pods, and returns their number. A missing pod
// may have done it, or not.
func (k Asker) LeaveChannels(ctx context.Context, host presence.HostName, call *message.Call) (int, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindLeave, host: host, scope: membership.ScopeAll, call: call})
	return a.count, a.truth
}
