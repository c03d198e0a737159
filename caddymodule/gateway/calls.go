package gateway

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// defaultReason is the reason of a disconnect without one.
const defaultReason = "disconnected"

// Disconnect closes connections of a host on this pod, and returns their number. It does not wait
// for them, because it closes at most closesPerSecond. It implements cluster.Local.
func (h *Hub) Disconnect(name presence.HostName, channel string, call *cluster.Call) int {
	h.forgetCalled(name, channel, call)
	host := h.Registry.Host(name)
	if host == nil {
		return 0
	}
	conns := calledConns(host, call)
	if channel != "" {
		conns = append(conns, host.ChannelConns(channel)...)
	}
	o := order{reconnect: call.Reconnect, reason: call.Reason}
	if o.reason == "" {
		o.reason = defaultReason
	}
	return h.disconnectConns(name, conns, o)
}

// disconnectConns closes connections of a host as the order says, without waiting for them. It
// returns how many of them are not being closed already.
func (h *Hub) disconnectConns(name presence.HostName, conns []*presence.Conn, o order) int {
	sessions := make([]*Session, 0, len(conns))
	for _, c := range conns {
		if s, ok := c.Outbox().(*Session); ok {
			sessions = append(sessions, s)
		}
	}
	return h.closer.add(name, sessions, o)
}

// Leave ends memberships of a host on this pod, and returns their number. It implements
// cluster.Local.
func (h *Hub) Leave(name presence.HostName, call *cluster.Call) (n int) {
	h.forgetCalled(name, "", call) // before they leave: they may join again at once
	host := h.Registry.Host(name)
	if host == nil {
		return 0
	}
	for _, c := range calledConns(host, call) {
		left := c.Expel(call.Channels)
		n += len(left)
		if s, ok := c.Outbox().(*Session); ok {
			for _, channel := range left {
				s.dropEnd(channel)
			}
		}
	}
	return n
}

// forgetCalled drops the kept answers of backends about the users of a call. The users of
// connections and of a channel are known only to the pods that have them, so all answers of the
// host are dropped: that costs only questions.
func (h *Hub) forgetCalled(name presence.HostName, channel string, call *cluster.Call) {
	if channel != "" || len(call.Conns) > 0 {
		h.Asker.ForgetAll(name)
		return
	}
	h.Asker.Forget(name, call.Users)
}

// calledConns returns the connections of the users of a call, and those that it names, each once.
func calledConns(host *presence.Host, call *cluster.Call) (conns []*presence.Conn) {
	seen := make(map[string]bool, len(call.Users))
	for _, user := range call.Users {
		if !seen[user] {
			seen[user] = true
			conns = append(conns, userConns(host, user, call)...)
		}
	}
	named := make(map[presence.ID]bool, len(call.Conns))
	for _, id := range call.Conns {
		if c := host.Conn(id); c != nil && !named[id] {
			named[id] = true
			conns = append(conns, c)
		}
	}
	return conns
}

// userConns returns the connections of a user that a call is about.
func userConns(host *presence.Host, user string, call *cluster.Call) []*presence.Conn {
	conns := host.UserConns(user)
	if call.SignedIn {
		conns = slices.DeleteFunc(conns, func(c *presence.Conn) bool { return !c.SignedIn() })
	}
	if call.Members {
		for _, c := range host.ConnsAs(user) {
			if !slices.Contains(conns, c) {
				conns = append(conns, c)
			}
		}
	}
	return conns
}
