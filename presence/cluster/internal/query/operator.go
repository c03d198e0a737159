package query

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// PodHost is what a pod has of a host.
type PodHost struct {
	DataCenter string
	Pod        string
	message.HostCount
}

// PodListener is a connection that has a user, with its pod.
type PodListener struct {
	DataCenter string
	Pod        string
	message.Listener
}

// Hosts returns the hosts that have connections on any pod, sorted by name, data center and pod. If host
// is not the zero HostName, it returns only this one. The results are shared and must not be changed.
func (k Asker) Hosts(ctx context.Context, host presence.HostName) ([]PodHost, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindHosts, host: host, scope: membership.ScopeAll})
	return a.hosts, a.truth
}

// Listeners lists connections like [presence.Host.Listeners], sorted by user and pod. of has the channel
// without users, once for each pod on which it is active and not hidden. next is the After of the next
// page, or "" if this is the last. The results are shared and must not be changed.
func (k Asker) Listeners(
	ctx context.Context, host presence.HostName, l presence.Listeners,
) (of []presence.Listing, list []PodListener, next string, truth Truth) {
	a := k.queries.ask(ctx, queryKey{
		kind: message.KindListeners, host: host, scope: membership.ScopeAll, channel: l.Channel, user: l.After, page: presence.Page{Limit: l.Limit},
	})
	return a.listings, a.listeners, a.next, a.truth
}

// mergeHosts sorts the hosts of all pods.
func mergeHosts(replies []podReply) []PodHost {
	list := []PodHost{}
	for _, r := range replies {
		for _, part := range r.parts {
			for _, h := range part.Hosts {
				list = append(list, PodHost{r.DC, r.Pod, h})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b PodHost) int { return strings.Compare(a.Host.String(), b.Host.String()) })
	return list
}

// moreListeners returns what this pod selects for a query: one user more than its limit.
func moreListeners(q *message.Query) presence.Listeners {
	l := presence.Listeners{Channel: q.Channel, After: q.User, Limit: q.Page.Limit}
	if l.Limit > 0 {
		l.Limit++
	}
	return l
}

// mergeListeners merges pages of all pods, each of which has one user more than the limit if there is
// another page.
func mergeListeners(q queryKey, replies []podReply) (a answer) {
	a.listeners = []PodListener{}
	for _, r := range replies {
		for _, part := range r.parts {
			a.listings = append(a.listings, part.Channels...)
			for _, l := range part.Listeners {
				a.listeners = append(a.listeners, PodListener{r.DC, r.Pod, l})
			}
		}
	}
	slices.SortStableFunc(a.listeners, func(a, b PodListener) int { return cmp.Compare(a.User, b.User) })
	users := 0
	for i := range a.listeners {
		if i > 0 && a.listeners[i].User == a.listeners[i-1].User {
			continue
		}
		if users++; q.page.Limit > 0 && users > q.page.Limit {
			a.next = a.listeners[i-1].User
			a.listeners = a.listeners[:i:i]
			break
		}
	}
	return a
}
