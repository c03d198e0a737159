package cluster

import (
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/messages"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/query"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Local is what the cluster needs of its own pod. Its methods are called from many goroutines.
type Local = query.Local

// Scope is which pods a query goes to.
type Scope = membership.Scope

// Scopes of a query.
const (
	ScopePod = membership.ScopePod // this pod
	ScopeDC  = membership.ScopeDC  // pods of this data center
	ScopeAll = membership.ScopeAll
)

// Truth is how complete an answer is.
type Truth = query.Truth

// DataCenter is the part of a host in a data center.
type DataCenter = query.DataCenter

// PodConnection is a connection of a user, with its pod.
type PodConnection = query.PodConnection

// PodHost is what a pod has of a host.
type PodHost = query.PodHost

// PodListener is a connection that has a user, with its pod.
type PodListener = query.PodListener

// FirstUsers returns a page of a list that is sorted by user, see [Cluster.Listeners].
func FirstUsers(list []PodListener, limit int) (first []PodListener, next string) {
	return query.FirstUsers(list, limit)
}

// OnlineUser is a user with a connection.
type OnlineUser = query.OnlineUser

// Call says whose connections are disconnected, or leave channels.
type Call = message.Call

// MaxListed is the maximum number of users that an answer about all users of a host, or of all its
// channels, lists.
const MaxListed = query.MaxListed

// MaxReason is the longest reason of a disconnect, in bytes.
const MaxReason = message.MaxReason

// PodReport describes one pod as this one sees it.
type PodReport = membership.PodReport

// Ignored counts received payloads that were not used, by reason.
type Ignored = link.Ignored

// Errors of [Cluster.Forget].
var (
	ErrPodHeard   = membership.ErrPodHeard
	ErrPodUnknown = membership.ErrPodUnknown
)

// Messages counts the messages between this pod and others.
type Messages = messages.Counts

// asker has the queries of Cluster. The alias keeps the embedded field unexported.
type asker = query.Asker
