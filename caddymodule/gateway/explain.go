package gateway

import (
	"context"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Explain implements cluster.Local.
func (h *Hub) Explain(name presence.HostName, user string) []message.Connection {
	host := h.Registry.Host(name)
	if host == nil {
		return nil
	}
	var conns []message.Connection
	for _, c := range host.DescribeUser(user) {
		conn := message.Connection{ID: c.ID.String(), Email: c.User.Email, Channels: c.Channels}
		conn.Since, conn.LastSign = signsOf(c.Out)
		conns = append(conns, conn)
	}
	return conns
}

// signsOf returns the start of a connection and the time of the last bytes from its client, as Unix
// times in milliseconds.
func signsOf(out presence.Outbox) (since, last int64) {
	s, ok := out.(*Session)
	if !ok {
		return 0, 0
	}
	return s.since, max(s.since, s.sock.LastSign().UnixMilli())
}

// Hosts implements cluster.Local.
func (h *Hub) Hosts(name presence.HostName) (list []message.HostCount) {
	hosts := []*presence.Host{h.Registry.Host(name)}
	if name.IsZero() {
		hosts = h.Registry.Hosts()
	}
	for _, host := range hosts {
		if host == nil {
			continue
		}
		s := host.FullStats()
		list = append(list, message.HostCount{
			Host: host.Name(), Anonymous: uint64(s.Anonymous), LoggedIn: uint64(s.LoggedIn), Users: uint64(s.Users),
			Channels: uint64(s.Channels), Hidden: uint64(s.Hidden),
		})
	}
	return list
}

// Listeners implements cluster.Local.
func (h *Hub) Listeners(name presence.HostName, l presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	host := h.Registry.Host(name)
	if host == nil {
		return of, nil, false
	}
	of, conns, ok := host.Listeners(l)
	for _, c := range conns {
		m := message.Listener{Conn: c.ID, User: c.User.ID, Email: c.User.Email}
		m.Since, m.LastSign = signsOf(c.Out)
		list = append(list, m)
	}
	return of, list, ok
}

// AllHosts returns the hosts that have connections on any pod, see [cluster.Cluster].
func (h *Hub) AllHosts(ctx context.Context, host presence.HostName) ([]cluster.PodHost, cluster.Truth) {
	pods, self, truth := h.everyone()
	if pods != nil {
		return pods.Hosts(ctx, host)
	}
	list := []cluster.PodHost{}
	for _, c := range h.Hosts(host) {
		list = append(list, cluster.PodHost{DataCenter: self.DataCenter, Pod: self.Pod, HostCount: c})
	}
	slices.SortFunc(list, func(a, b cluster.PodHost) int { return strings.Compare(a.Host.String(), b.Host.String()) })
	return list, truth
}

// AllListeners lists connections on all pods, see [cluster.Cluster].
func (h *Hub) AllListeners(
	ctx context.Context, host presence.HostName, l presence.Listeners,
) (of []presence.Listing, list []cluster.PodListener, next string, truth cluster.Truth) {
	pods, self, truth := h.everyone()
	if pods != nil {
		return pods.Listeners(ctx, host, l)
	}
	one, found, ok := h.Listeners(host, l.OneMore())
	if ok && l.Channel != "" {
		of = append(of, one)
	}
	for _, c := range found {
		list = append(list, cluster.PodListener{DataCenter: self.DataCenter, Pod: self.Pod, Listener: c})
	}
	list, next = cluster.FirstUsers(list, l.Limit)
	return of, list, next, truth
}

// everyone returns the pods of the cluster. If this pod answers alone, pods is nil, self is the
// configuration with its name, and truth says whether its answer is complete.
func (h *Hub) everyone() (pods Pods, self *Configuration, truth cluster.Truth) {
	now := h.cluster.Load()
	if now != nil && now.pods != nil {
		return now.pods, nil, cluster.Truth{}
	}
	if self = h.configs.Load().latest(); self == nil {
		return nil, new(Configuration), cluster.Truth{Complete: true}
	}
	return nil, self, cluster.Truth{Complete: now == nil && h.alone()}
}

// AllChannels lists the active channels of a page on all pods, see [cluster.Cluster.Users].
func (h *Hub) AllChannels(
	ctx context.Context, host presence.HostName, page presence.Page,
) (list []presence.Listing, next string, truth cluster.Truth) {
	pods, _, truth := h.everyone()
	if pods != nil {
		return pods.Users(ctx, host, cluster.ScopeAll, presence.PerUser, page)
	}
	if local := h.Registry.Host(host); local != nil {
		list, next = local.Page(page, presence.PerUser)
	}
	return list, next, truth
}

// SiteOf returns the site that serves the host by the configuration in effect, or nil.
func (h *Hub) SiteOf(host presence.HostName) *site.Site {
	if now := h.InEffect(); now != nil {
		return now.Find(host)
	}
	return nil
}

// ResetBreakers closes the breakers of a plugin for a host on this pod. It returns false if the
// plugin is not used for the host.
func (h *Hub) ResetBreakers(plugin, host string) bool { return h.Plugins.ResetBreakers(plugin, host) }

// Logger returns a logger that outlives configurations.
func (h *Hub) Logger() *zap.Logger { return h.log.named("rollcall") }
