package presence

import (
	"slices"
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
	source   RulesSource
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

func newHost(r *Registry, name HostName, source RulesSource) *Host {
	return &Host{
		name:     name,
		registry: r,
		relay:    r.relay,
		source:   source,
		byID:     make(map[ID]*Conn),
		users:    make(map[string]*user),
		channels: make(map[string]*channel),
	}
}

// Name returns the name of the host.
func (h *Host) Name() HostName { return h.name }

// rules returns the rules that the host has now. The lock is held.
func (h *Host) rules() *Rules { return h.source.Rules() }

func (h *Host) connect(u *User, out Outbox) (*Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped {
		return nil, errDropped
	}
	if m := h.rules().MaxConns; m > 0 && len(h.conns) >= m {
		return nil, errTooManyConns
	}
	c := &Conn{host: h, id: newID(), out: out, index: len(h.conns)}
	h.conns = append(h.conns, c)
	h.byID[c.id] = c
	if u != nil {
		c.linkUser(h.acquire(*u))
	}
	h.invalidateConn(c.index)
	return c, nil
}

// Reclassify classifies the active channels of the host by the rules that it has now. Listeners
// that a new class no longer admits are taken out and receive a frame with [ReasonDenied]; watchers
// see the changes. A channel whose classification fails keeps its class. The host is no longer
// retired.
func (h *Host) Reclassify() {
	h.mu.Lock()
	h.retired = false
	rules := h.rules()
	names := make([]string, 0, len(h.channels))
	for name := range h.channels {
		names = append(names, name)
	}
	h.mu.Unlock()

	// Join classifies the channels that become active from here on.
	for _, name := range names {
		class, err := rules.classify(h.name, name)
		if err != nil {
			continue
		}
		h.mu.Lock()
		ch := h.channels[name]
		if h.rules() == rules && ch != nil && ch.class != class {
			h.reclassify(ch, class)
		}
		h.mu.Unlock()
	}
}

// Retire marks the host as no longer served: connections that close from now on have left and are
// not lost, so there is no grace period. [Host.Reclassify] ends that.
func (h *Host) Retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
}

// KindOf returns the kind of an active channel. It returns false if the channel is not active.
func (h *Host) KindOf(name string) (Kind, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[name]
	if ch == nil {
		return 0, false
	}
	return ch.class.Kind, true
}

// Outboxes returns the outboxes of all connections of the host.
func (h *Host) Outboxes() []Outbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Outbox, len(h.conns))
	for i, c := range h.conns {
		list[i] = c.out
	}
	return list
}

// UserConns returns the connections of a user, in no particular order.
func (h *Host) UserConns(user string) []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.users[user]
	if u == nil {
		return nil
	}
	conns := make([]*Conn, 0, u.conns)
	for c := u.first; c != nil; c = c.next {
		conns = append(conns, c)
	}
	return conns
}

// LoggedInConns returns the connections that have a user.
func (h *Host) LoggedInConns() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*Conn, 0, h.loggedIn)
	for _, c := range h.conns {
		if c.user != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// ConnInfo describes one connection of a user.
type ConnInfo struct {
	ID       ID
	User     User
	Channels []string // channels that it listens to, sorted, without its private one
	Out      Outbox
}

// DescribeUser describes the connections of a user. They are in order of arrival, except that the
// last connection of the host fills the place of one that is closed.
func (h *Host) DescribeUser(userID string) []ConnInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []ConnInfo
	for _, c := range h.conns {
		if c.user == nil || c.user.ID != userID {
			continue
		}
		info := ConnInfo{ID: c.id, User: c.user.User, Channels: make([]string, len(c.memberships)), Out: c.out}
		for i, m := range c.memberships {
			info.Channels[i] = m.channel.name
		}
		slices.Sort(info.Channels)
		list = append(list, info)
	}
	return list
}

// Stats has the numbers of a host on this pod.
type Stats struct {
	Conns     int // connections, anonymous ones included
	Anonymous int // connections without a user
	LoggedIn  int // connections with a user
	Users     int // distinct users, by ID
	Channels  int // active channels, private ones left out
}

// Stats returns the numbers of the host, all taken at one moment.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats()
}

func (h *Host) stats() Stats {
	return Stats{
		Conns:     len(h.conns),
		Anonymous: len(h.conns) - h.loggedIn,
		LoggedIn:  h.loggedIn,
		Users:     len(h.online),
		Channels:  len(h.channels),
	}
}

// swapList is a list without gaps whose elements know their places, so that one leaves without a
// search: the last takes its place.
type swapList[T any] []*T

// remove takes out the element at i. The place of an element is what the function points to.
func (l *swapList[T]) remove(i int, place func(*T) *int) {
	list := *l
	last := len(list) - 1
	list[i] = list[last]
	*place(list[i]) = i
	list[last] = nil
	*l = list[:last]
}
