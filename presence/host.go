package presence

import (
	"slices"
	"sync"
	"time"
)

// Host is one tenant: its connections, their users, and the channels that they listen to. Its
// methods are safe for concurrent use.
type Host struct {
	name     HostName
	registry *Registry

	// mu guards the fields below and everything that they refer to.
	mu       sync.Mutex
	relay    Relay // nil if this pod is the only one
	source   RulesSource
	conns    swapList[Conn] // see Conn.index
	byID     map[ID]*Conn
	users    map[string]*user
	online   swapList[user] // users with a connection; see user.index
	loggedIn int            // number of connections with a user
	channels map[string]*channel
	cache    *listingCache            // encoded listings; nil if not cached
	showing  *showing                 // users that wait for the Shower; nil before the first
	shower   string                   // version of the Shower, see Host.updateShower
	statuses map[string]*statusChange // users, by ID, whose status has changed in the last statusPause
	detailed bool                     // a user has or had an info or a status, on this pod or another
	asked    bool                     // other pods were told of a user
	greeted  bool                     // they have had time to say whether they know an info or a status
	hide     Fields                   // fields that frames do not have, see Host.updateHide
	pending  int                      // bytes of messages that wait in all channels, and in direct
	direct   *direct                  // messages for users; nil if there are none
	retired  bool                     // see Host.Retire
	retry    *time.Timer              // next try of provisional classes; nil if none is due
	tries    int                      // tries since the last one that left no class provisional
	dropped  bool                     // removed from the registry
	taps     []*Tap                   // see Pods.Tap; nil if there are none

	watchable  bool                 // as the rules have said last, see Host.updateRosters
	rosters    map[string]*roster   // by name; nil without watchlists
	watchlists map[*Conn]*watchlist // nil if there are none
}

// newHost returns a host without connections. The lock of the registry is held.
func newHost(r *Registry, name HostName, source RulesSource) *Host {
	return &Host{
		name:     name,
		registry: r,
		relay:    r.relay,
		source:   source,
		shower:   showerVersion(source.Rules()),
		hide:     source.Rules().Hide,
		byID:     make(map[ID]*Conn),
		users:    make(map[string]*user),
		channels: make(map[string]*channel),
		taps:     slices.Clone(r.taps[name]),

		watchable: source.Rules().Watchlist,
	}
}

// Name returns the name of the host.
func (h *Host) Name() HostName { return h.name }

// rules returns the rules that the host has now. The lock is held.
func (h *Host) rules() *Rules { return h.source.Rules() }

func (h *Host) connect(id ID, u *User, out Outbox) (*Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped {
		return nil, errDropped
	}
	if h.full() {
		return nil, errTooManyConns
	}
	c := &Conn{host: h, id: id, out: out, index: int32(len(h.conns))}
	if o, ok := out.(EncodedOutbox); ok {
		c.encoding = o.Encoding()
		_ = c.frames() // panics here for an encoding that the registry does not have
	}
	h.conns = append(h.conns, c)
	h.byID[c.id] = c
	if u != nil {
		c.linkUser(h.acquire(*u))
		h.noteSignIn(c)
	}
	h.invalidateConn(c.index)
	return c, nil
}

// IsFull reports whether the host has as many connections as its rules allow.
func (h *Host) IsFull() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.full()
}

func (h *Host) full() bool {
	m := h.rules().MaxConns
	return m > 0 && len(h.conns) >= m
}

// Reclassify classifies the active channels of the host by its present rules, and judges the
// permissions of their listeners. A listener that may no longer join is removed and receives a
// frame with [ReasonDenied]. A channel whose classification fails keeps its class, and is
// classified again later. The host is no longer retired. See [Registry.OnReclassified] for what
// follows.
func (h *Host) Reclassify() {
	h.mu.Lock()
	h.retired = false
	rules := h.rules()
	h.updateHide(rules)
	h.updateShower(rules)
	h.updateMaxNames(rules)
	h.updateRosters(rules)
	for _, c := range h.conns {
		c.grants = c.grants.dropEnded(rules)
	}
	names := make([]string, 0, len(h.channels))
	for name := range h.channels {
		names = append(names, name)
	}
	h.mu.Unlock()
	h.classifyAll(names, rules, false)
	h.reportReclassified()
}

// classifyAll classifies active channels, after the rules have changed or as a retry. It reports
// whether a class has changed. Join classifies those that become active meanwhile.
func (h *Host) classifyAll(names []string, rules *Rules, retry bool) (changed bool) {
	for _, name := range names {
		class, err := rules.classify(h.name, name)
		h.mu.Lock()
		if ch := h.channels[name]; ch != nil && h.rules() == rules {
			if err != nil {
				class = ch.class.withGrant(class)
			}
			changed = h.setClass(ch, class, rules, retry) || changed
		}
		h.mu.Unlock()
	}
	return changed
}

// setClass sets the class of an active channel by the rules. It reports whether the class has
// changed.
func (h *Host) setClass(ch *channel, class Class, rules *Rules, retry bool) (changed bool) {
	if class.Provisional {
		h.scheduleRetry()
	}
	ch.class.Provisional = class.Provisional
	switch {
	case ch.class != class:
		h.reclassify(ch, class, rules, !retry || h.registry.reclassified != nil)
		return true
	case !retry && (class.Grant || class.Quiet):
		h.judgeAll(ch, rules, true)
	}
	return false
}

// Provisional classes are decided again after 1, 2, 4 s and so on, up to 64 s.
const (
	retryClasses    = time.Second
	maxRetryDoubles = 6
)

// scheduleRetry classifies channels with a provisional class again, unless that is due already.
func (h *Host) scheduleRetry() {
	if h.retry == nil && !h.dropped {
		h.retry = time.AfterFunc(retryClasses<<h.tries, h.retryProvisional)
	}
}

func (h *Host) retryProvisional() {
	h.mu.Lock()
	h.retry = nil
	h.tries = min(h.tries+1, maxRetryDoubles)
	rules := h.rules()
	var names []string
	for name, ch := range h.channels {
		if ch.class.Provisional {
			names = append(names, name)
		}
	}
	h.mu.Unlock()
	changed := h.classifyAll(names, rules, true)
	h.mu.Lock()
	if h.retry == nil {
		h.tries = 0
	}
	h.mu.Unlock()
	if changed {
		h.reportReclassified()
	}
}

// reportReclassified calls the function of [Registry.OnReclassified].
func (h *Host) reportReclassified() {
	if f := h.registry.reclassified; f != nil {
		f(h)
	}
}

// Retire marks the host as no longer served: connections that close from now on have left and are
// not lost, so their users have no grace period. [Host.Reclassify] reverts this.
func (h *Host) Retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
}

// KindOf returns the kind of a channel, or false if the channel is not active.
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
	Channels []string // sorted, without its private channel
	Out      Outbox
}

// DescribeUser describes the connections of a user. They are in order of arrival, except that the
// last connection of the host fills the place of one that closes.
func (h *Host) DescribeUser(userID string) []ConnInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []ConnInfo
	for _, c := range h.conns {
		if c.user == nil || c.user.ID != userID {
			continue
		}
		info := ConnInfo{ID: c.id, User: c.user.known(), Channels: make([]string, len(c.memberships)), Out: c.out}
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
	Conns     int // connections, with a user or anonymous
	Anonymous int // connections without a user
	LoggedIn  int // connections with a user
	Users     int // distinct user IDs
	Channels  int // active channels, without private ones
	Hidden    int // active channels that no listing has; set by [Host.FullStats] alone
}

// Stats returns the numbers of the host at one moment.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats()
}

// FullStats returns the numbers of the host with Stats.Hidden, for which it looks at every channel.
func (h *Host) FullStats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats()
	for _, ch := range h.channels {
		if ch.class.Hidden {
			s.Hidden++
		}
	}
	return s
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

// swapList is a list whose elements know their index, so removing one needs no search. The last
// element fills the gap.
type swapList[T any] []*T

// remove removes the element at i. index returns a pointer to the index of an element.
func (l *swapList[T]) remove(i int32, index func(*T) *int32) {
	list := *l
	last := int32(len(list) - 1)
	list[i] = list[last]
	*index(list[i]) = i
	list[last] = nil
	*l = list[:last]
}
