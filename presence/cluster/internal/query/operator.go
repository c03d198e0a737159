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

// Hosts returns the hosts that have connections on any pod, sorted by name, data center and pod. If
// host is not the zero HostName, it returns only this one. The results are shared and must not be
// changed.
func (k Asker) Hosts(ctx context.Context, host presence.HostName) ([]PodHost, Truth) {
	a := k.queries.ask(ctx, queryKey{kind: message.KindHosts, host: host, scope: membership.ScopeAll})
	return a.hosts, a.truth
}

// Listeners lists connections like [presence.Host.Listeners], sorted by user and pod. of has the
// channel without users, once for each pod on which it is active and not hidden. next is the After
// of the next page, or "" if this is the last. The results are shared and must not be changed.
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

// mergeListeners merges pages of all pods, each of which has one user more than the limit if there
// is another page.
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
	a.listeners, a.next = FirstUsers(a.listeners, q.page.Limit)
	return a
}

// FirstUsers returns the connections of the first users of a list that is sorted by user, at most
// limit, and the last one of them if there are more. With the limit 0, it returns all.
func FirstUsers(list []PodListener, limit int) (first []PodListener, next string) {
	users := 0
	for i := range list {
		if i > 0 && list[i].User == list[i-1].User {
			continue
		}
		if users++; limit > 0 && users > limit {
			return list[:i:i], list[i-1].User
		}
	}
	return list, ""
}
