package presence

import (
	"sync"
)

// Host is one tenant: its connections, their users, and the channels that they listen to. Its
// methods are safe for concurrent use.
type Host struct {
	name     HostName
	registry *Registry

	// mu guards everything below, and everything that hangs from it.
	mu       sync.Mutex
	relay    Relay // nil: this pod is the only one
	rules    *Rules
	conns    swapList[Conn] // Conn.pos is the place
	byID     map[ID]*Conn
	users    map[string]*user
	online   swapList[user] // users that have a connection; user.pos is the place
	loggedIn int            // connections that have a user
	channels map[string]*channel
	cache    *listingCache // listings as bytes; nil while nobody asks for them
	pending  int           // bytes of messages that channels have to deliver
	retired  bool          // see Retire
	dropped  bool          // removed from the registry
}

func newHost(r *Registry, name HostName, rules *Rules) *Host {
	return &Host{
		name:     name,
		registry: r,
		relay:    r.relay,
		rules:    rules,
		byID:     make(map[ID]*Conn),
		users:    make(map[string]*user),
		channels: make(map[string]*channel),
	}
}

// Name returns the name of the host.
func (h *Host) Name() HostName { return h.name }

func (h *Host) connect(u *User, out Outbox) (*Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped {
		return nil, errDropped
	}
	if m := h.rules.MaxConns; m > 0 && len(h.conns) >= m {
		return nil, ErrTooManyConns
	}
	c := &Conn{host: h, id: NewID(), out: out, pos: len(h.conns)}
	h.conns = append(h.conns, c)
	h.byID[c.id] = c
	if u != nil {
		c.become(h.acquire(*u))
	}
	h.touchConn(c.pos)
	return c, nil
}
