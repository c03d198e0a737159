package presence

import "sync"

// Member is a user, with the time at which the e-mail address was learned. If two Members with one
// ID have different addresses, the later one applies.
type Member struct {
	User
	Seen       int64  // Unix time in milliseconds; 0 without an address
	InfoTime   int64  // the same of the info, in nanoseconds; 0 if it was never set
	StatusTime int64  // the same of the status
	Shown      *Shown // decision of the pod's [Shower], only in a Delta; nil without a Shower
	// Own says that the info is that of an [Identity]. It holds in the channel alone, in which it
	// comes before that of the user, and can be any JSON value.
	Own bool
}

// delta returns the member as other pods learn it.
func (m *member) delta() Member {
	of, at := m.source(), m.address()
	d := Member{User: of.known(), Seen: at.seen, Shown: of.shown}
	d.Email = at.email
	if e := of.extra; e != nil {
		d.InfoTime, d.StatusTime, d.Own = e.infoTime, e.statusTime, e.own
	}
	return d
}

// extra returns the info and the status of a Member; nil if it has none.
func (m *Member) extra() *extra {
	if m.InfoTime == 0 && m.StatusTime == 0 {
		return nil
	}
	return &extra{m.Info, m.Status, m.InfoTime, m.StatusTime, m.Own}
}

// Departure is a user whose last connection in one pod's part of a channel is gone.
type Departure struct {
	ID   string
	Lost bool // the connection was lost and may come back; false if the user left or logged out
}

// Delta is a change of one pod's part of a channel. Merging a Delta twice does no harm.
type Delta struct {
	Clock  uint64      // clock of the part after the change; grows with each delta of the channel
	Base   uint64      // clock of the part before the change; 0 if the delta is the whole part and replaces it
	Joined []Member    // users who came, or of whom the pod has learned something
	Left   []Departure // users who are gone
	Conns  int         // listeners, with a user or anonymous
	Lost   int         // connections lost since Base, see [Departure]
	// Userless is the number of listeners of an authenticated channel that count as no user.
	Userless int
}

// changes records what the relay has not yet fetched of this pod's part of a channel. It exists
// only with a relay. The host's lock guards it, or that of lastChanges after the channel has ended.
type changes struct {
	clock    uint64          // clock of the last delta; 0 before the first
	users    map[string]bool // users to report; true if the last connection was lost
	lost     int32           // number of lost connections
	full     bool            // the next delta has the whole part; users then has only users who left
	notified bool            // the relay knows that there are changes
}

// maxChanges limits changes.users, in case that the relay does not fetch for long or that a crowd
// arrives. Beyond it, and beyond the number of the channel's members, the next delta has the whole
// part.
const maxChanges = 1024

// recordMember records that a user came or went, or that this pod has learned something of it.
func (h *Host) recordMember(m *member, lost bool) {
	c := m.channel.changes
	if c == nil {
		return
	}
	switch {
	case c.full && m.conns > 0:
		delete(c.users, m.user.ID) // the whole part has it
	case len(c.users) >= max(maxChanges, len(m.channel.members)):
		c.full, c.users = true, nil // users recorded before are missing in it, so they count as lost
	default:
		if c.users == nil {
			c.users = make(map[string]bool)
		}
		c.users[m.user.ID] = lost
	}
	h.notifyRelay(m.channel)
}

// notifyRelay notifies the relay that the channel has changes.
func (h *Host) notifyRelay(ch *channel) {
	if ch.changes != nil && !ch.changes.notified {
		ch.changes.notified = true
		h.relay.Changed(h.name, ch.name)
	}
}

// localMembers returns the users of the channel that have a connection on this pod.
func (ch *channel) localMembers() []Member {
	list := make([]Member, 0, ch.users)
	for _, m := range ch.members {
		if m.conns > 0 {
			list = append(list, m.delta())
		}
	}
	return list
}

// next returns a Delta without its lists, and begins to record the changes after it.
func (c *changes) next(clock uint64) Delta {
	d := Delta{Clock: clock, Base: c.clock, Lost: int(c.lost)}
	if c.full {
		d.Base = 0
	}
	*c = changes{clock: clock}
	return d
}

// Changes returns what has changed in this pod's part of a channel since the last call. It returns
// false if nothing has. The first Delta of an active channel is the whole part, and later ones can
// be. After the channel has ended, Changes returns its last changes once.
func (p Pods) Changes(host HostName, channelName string) (Delta, bool) {
	var (
		d  Delta
		ok bool
	)
	p.r.withHost(host, func(h *Host) {
		if h != nil && h.rosters[channelName] != nil && h.rosters[channelName].changes != nil {
			d, ok = h.rosterDelta(h.rosters[channelName])
		} else if h != nil && h.channels[channelName] != nil {
			d, ok = h.nextDelta(h.channels[channelName])
		} else if c := p.r.lastChanges.pop(host, channelName); c != nil {
			users := c.users
			d, ok = c.next(p.r.clock.Add(1)), true
			for id, lost := range users {
				d.Left = append(d.Left, Departure{id, lost})
			}
		}
	})
	return d, ok
}

func (h *Host) nextDelta(ch *channel) (Delta, bool) {
	c := ch.changes
	if c == nil || !c.notified {
		return Delta{}, false
	}
	full, users := c.full, c.users
	d := c.next(h.registry.clock.Add(1))
	d.Conns, d.Userless = len(ch.listeners), ch.userlessMembers()
	if full {
		d.Joined = ch.localMembers()
	}
	for id, lost := range users {
		if m := h.users[id].in(ch); m == nil || m.conns == 0 {
			d.Left = append(d.Left, Departure{id, lost})
		} else {
			d.Joined = append(d.Joined, m.delta())
		}
	}
	return d, true
}

// LastClock returns the clock of the last Delta of this pod, in any channel.
func (p Pods) LastClock() uint64 { return p.r.clock.Load() }

// State returns this pod's part of a channel, as a Delta that precedes the next result of
// [Pods.Changes]. It can include changes that are in that result too.
func (p Pods) State(host HostName, channelName string) Delta {
	if isRoster(channelName) {
		d, _ := p.r.rosterState(host, channelName, 0, true)
		return d
	}
	d, _ := p.r.state(host, channelName, func(uint64, int) bool { return true })
	return d
}

// StateAfter returns the result of [Pods.State], or false if its clock is known. If known is 0, it
// returns false for a channel without listeners. Returning false is cheap.
func (p Pods) StateAfter(host HostName, channelName string, known uint64) (Delta, bool) {
	if isRoster(channelName) {
		return p.r.rosterState(host, channelName, known, false)
	}
	return p.r.state(host, channelName, func(clock uint64, conns int) bool {
		return clock != known && (known != 0 || conns > 0)
	})
}

// state returns the state of a channel if wanted accepts its clock and its number of connections.
func (r *Registry) state(host HostName, channelName string, wanted func(clock uint64, conns int) bool) (d Delta, ok bool) {
	r.withHost(host, func(h *Host) {
		var ch *channel
		if h != nil {
			ch = h.channels[channelName]
		}
		switch {
		case ch == nil:
			d.Clock = r.lastChanges.clock(host, channelName)
		case ch.changes != nil:
			d.Clock = ch.changes.clock
		}
		if d.Clock == 0 {
			d.Clock = r.clock.Load()
		}
		if ch != nil {
			d.Conns, d.Userless = len(ch.listeners), ch.userlessMembers()
		}
		if ok = wanted(d.Clock, d.Conns); ok && ch != nil {
			d.Joined = ch.localMembers()
		}
	})
	if !ok {
		return Delta{}, false
	}
	return d, true
}

// lastChanges has the changes of channels that are no longer active. Its methods are safe for
// concurrent use.
type lastChanges struct {
	mu   sync.Mutex // locked after Registry.mu and Host.mu
	list map[channelKey]*changes
}

type channelKey struct {
	host    HostName
	channel string
}

func (e *lastChanges) put(host HostName, channel string, c *changes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.list == nil {
		e.list = make(map[channelKey]*changes)
	}
	e.list[channelKey{host, channel}] = c
}

// pop removes and returns the changes of a channel, or nil.
func (e *lastChanges) pop(host HostName, channel string) *changes {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.list[channelKey{host, channel}]
	delete(e.list, channelKey{host, channel})
	return c
}

// clock returns the clock of a channel's last delta. It is 0 if there are no changes, or if they
// are the first.
func (e *lastChanges) clock(host HostName, channel string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.list[channelKey{host, channel}]; c != nil {
		return c.clock
	}
	return 0
}

// notify notifies the relay of all changes.
func (e *lastChanges) notify(relay Relay) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.list {
		relay.Changed(key.host, key.channel)
	}
}

func (e *lastChanges) clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = nil
}

// recordChanges starts to record the changes of a channel that became active.
func (h *Host) recordChanges(ch *channel) {
	if h.relay == nil {
		return
	}
	ch.changes = &changes{full: true}
	if c := h.registry.lastChanges.pop(h.name, ch.name); c != nil {
		ch.changes.notified, ch.changes.users, ch.changes.lost = true, c.users, c.lost
	}
}

// keepLastChanges keeps the changes of a channel that has ended. A channel that never had a
// listener has none.
func (h *Host) keepLastChanges(ch *channel) {
	if ch.changes != nil && ch.changes.notified {
		h.registry.lastChanges.put(h.name, ch.name, ch.changes)
	}
}
