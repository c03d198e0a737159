package gateway

import (
	"github.com/rollcall-gateway/rollcall/presence"
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
		if s, ok := c.Out.(*Session); ok {
			conn.Since = s.since
			conn.LastSign = max(s.since, s.sock.LastSign().UnixMilli())
		}
		conns = append(conns, conn)
	}
	return conns
}
