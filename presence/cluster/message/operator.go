package message

import "github.com/rollcall-gateway/rollcall/presence"

// kindOperatorReply is a Reply with Hosts or Listeners. It has a type of its own, so that others
// have no byte for them.
const kindOperatorReply = 27

func (m *Reply) isForOperators() bool { return len(m.Hosts) > 0 || len(m.Listeners) > 0 }

// hasHost reports whether a query of the kind is about a host.
func (k QueryKind) hasHost() bool { return k != KindPing && k != KindHosts }

func (e *encoder) operatorLists(m *Reply) {
	e.length(len(m.Hosts))
	for i := range m.Hosts {
		h := &m.Hosts[i]
		e.host(h.Host)
		for _, n := range h.numbers() {
			e.number(*n)
		}
	}
	e.length(len(m.Listeners))
	for i := range m.Listeners {
		l := &m.Listeners[i]
		if l.Conn == (presence.ID{}) {
			e.fail("a connection without an ID")
		}
		e.b = append(e.b, l.Conn[:]...)
		e.userID(l.User)
		e.email(l.Email)
		e.time(l.Since)
		e.time(l.LastSign)
	}
}

func (d *decoder) operatorReply() Message {
	m := d.reply()
	m.Hosts = list(d, leastHostCount, func() (h HostCount) {
		h.Host = d.host()
		for _, n := range h.numbers() {
			*n = d.number()
		}
		return h
	})
	m.Listeners = list(d, leastListener, func() Listener {
		return Listener{Conn: d.sixteen(), User: d.userID(), Email: d.email(), Since: d.time(), LastSign: d.time()}
	})
	if !m.isForOperators() {
		d.fail("neither hosts nor listeners")
	}
	if d.wrong != "" {
		return nil
	}
	return m
}

// numbers returns the numbers in their order in a payload.
func (h *HostCount) numbers() [5]*uint64 {
	return [...]*uint64{&h.Anonymous, &h.LoggedIn, &h.Users, &h.Channels, &h.Hidden}
}

func hostCountSize(h *HostCount) int {
	name := h.Host.String()
	size := textSize(&name)
	for _, n := range h.numbers() {
		size += numberSize(*n)
	}
	return size
}

func listenerSize(l *Listener) int {
	return len(l.Conn) + textSize(&l.User) + textSize(&l.Email) + timeSize(l.Since) + timeSize(l.LastSign)
}
