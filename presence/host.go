package presence

import (
	"fmt"
	"sync"
	"time"
)

// Host is one tenant: its connections, their users, and the channels they listen to. It is safe for concurrent use.
type Host struct {
	name     HostName
	registry *Registry

	// mu guards everything below, and everything that hangs from it.
	mu       sync.Mutex
	relay    Relay // nil: this pod is the only one
	rules    *Rules
	conns    dense[Conn] // Conn.pos is the place
	byID     map[ID]*Conn
	users    map[string]*user
	online   dense[user] // users that have a connection; user.pos is the place
	loggedIn int         // connections that have a user
	channels map[string]*channel
	kept     *kept // listings as bytes; nil while nobody asks for them
	pending  int   // bytes of messages that channels have to deliver
	retired  bool  // see Retire
	dropped  bool  // not in the registry any longer, and so nobody's
}

// user is someone with at least one connection on the host, or with a channel whose watchers were not told yet that
// the last one is gone, or see the user on another pod. So who reconnects meanwhile is the same member again.
type user struct {
	User          // with the e-mail address that was learned on this pod
	seen    int64 // see Member
	pos     int   // in Host.online
	conns   int
	first   *Conn         // of its connections, which are a list
	members dense[member] // one for each channel that knows the user; member.userPos is the place
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

// Name returns the host's name.
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

// acquire counts one more connection of the user and takes over the e-mail, the latest seen.
func (h *Host) acquire(u User) *user {
	known := h.users[u.ID]
	if known == nil {
		known = &user{User: u}
		h.users[u.ID] = known
	}
	known.conns++
	h.loggedIn++
	first := known.conns == 1
	if first {
		known.pos = len(h.online)
		h.online = append(h.online, known)
		h.touchOnline(known.pos)
	}
	if u.Email != "" || first {
		h.learn(known, u.Email)
	}
	return known
}

// learn takes over an e-mail address, "" for none, as of now.
func (h *Host) learn(u *user, email string) {
	same := email == u.Email
	switch now := time.Now().UnixMilli(); {
	case email == "":
		u.seen = 0
	case same:
		u.seen = max(u.seen, now)
	default:
		u.seen = max(u.seen+1, now)
	}
	u.Email = email
	if !same {
		h.touchUser(u)
	}
	for _, m := range u.members {
		if m.refs > 0 {
			h.note(m, false) // also the same one: it can be later than what another pod has
		}
		switch {
		case m.trace != nil:
			m.readdress()
		case !same:
			m.updated = true
			m.channel.markDirty(m)
		}
		if m.dirty {
			h.changed(m.channel)
		}
	}
}

func (h *Host) release(u *user) {
	u.conns--
	h.loggedIn--
	if u.conns == 0 {
		h.touchOnline(u.pos)
		h.touchOnline(len(h.online) - 1) // who takes the place
		h.online.remove(u.pos, func(u *user) *int { return &u.pos })
		h.discard(u)
	}
}

// discard drops a user whom nothing needs any longer.
func (h *Host) discard(u *user) {
	if u.conns == 0 && len(u.members) == 0 {
		delete(h.users, u.ID)
	}
}

// SetRules replaces the host's rules and classifies its active channels anew. Listeners who may not listen any longer
// are taken out and told so; what watchers see follows. A channel whose classification fails keeps its class.
func (h *Host) SetRules(rules *Rules) {
	h.mu.Lock()
	h.rules, h.retired = rules, false
	names := make([]string, 0, len(h.channels))
	for name := range h.channels {
		names = append(names, name)
	}
	h.mu.Unlock()

	// Channels that become active from here on are classified by the new rules in Join.
	for _, name := range names {
		class, err := rules.classify(h.name, name)
		if err != nil {
			continue
		}
		h.mu.Lock()
		ch := h.channels[name]
		if h.rules == rules && ch != nil && ch.class != class {
			h.reclassify(ch, class)
		}
		h.mu.Unlock()
	}
}

// Retire tells that the host is not served any longer: its connections are about to be closed, and will not be back.
// SetRules ends that.
func (h *Host) Retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
}

// classify asks the classifier. A class of no kind that can be joined is an error: it must not open the channel.
func (r *Rules) classify(host HostName, channel string) (Class, error) {
	if r.Classifier == nil {
		return Patterns{}.Classify(host, channel)
	}
	class, err := r.Classifier.Classify(host, channel)
	if err == nil && !class.Denied && class.Kind != Authenticated && class.Kind != Anonymous {
		err = fmt.Errorf("classified as %v", class.Kind)
	}
	return class, err
}
