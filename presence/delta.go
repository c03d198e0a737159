package presence

import "sync"

// Member is a user, and the time at which the e-mail address was learned. Of two addresses for one
// ID, the later one applies.
type Member struct {
	User
	Seen int64 // Unix time in milliseconds; 0 without an address
}

// Departure is a user whose last connection in a channel of one pod has gone.
type Departure struct {
	ID   string
	Lost bool // the connection was lost and may be back soon; false if the user left or logged out
}

// Delta is a change of one pod's part of a channel. Merging a Delta twice does no harm.
type Delta struct {
	Clock  uint64      // clock of the part after the change; grows with each delta of the channel
	Base   uint64      // clock of the part before it; 0 if the delta has the whole part and replaces it
	Joined []Member    // users who came, or have another e-mail address
	Left   []Departure // users who went
	Conns  int         // connections that listen, with a user or without
	Lost   int         // connections that were lost since Base, see [Departure]
}

// changes is what other pods do not know yet of the part that this one has of a channel. It is
// there only with a relay. The host's lock guards it, or that of endings for a channel that is not
// active.
type changes struct {
	clock    uint64          // of the last delta; 0 before the first
	full     bool            // the next delta holds everything; then users are those who went
	notified bool            // the relay knows that there is something
	users    map[string]bool // who came, went or has another e-mail address; true: the last connection was lost
	lost     int             // connections
}

// A relay that does not ask for a long time, or a crowd between two times, must not make this grow
// without end: when it has both more entries than this and than the channel has users, all of the
// channel is sent instead.
const maxChanges = 1024

// note takes note that a user came, or went, or has another e-mail address.
func (h *Host) recordMember(m *member, lost bool) {
	c := m.channel.changes
	if c == nil {
		return
	}
	switch {
	case c.full && m.conns > 0:
		delete(c.users, m.user.ID) // comes with everything
	case len(c.users) >= max(maxChanges, len(m.channel.members)):
		c.full, c.users = true, nil // who went before counts as lost
	default:
		if c.users == nil {
			c.users = make(map[string]bool)
		}
		c.users[m.user.ID] = lost
	}
	h.notifyRelay(m.channel)
}

// tell has the relay ask for changes.
func (h *Host) notifyRelay(ch *channel) {
	if ch.changes != nil && !ch.changes.notified {
		ch.changes.notified = true
		h.relay.Changed(h.name, ch.name)
	}
}

// local lists the users that are in the channel with a connection of this pod.
func (ch *channel) localMembers() []Member {
	list := make([]Member, 0, ch.users)
	for _, m := range ch.members {
		if m.conns > 0 {
			list = append(list, Member{m.user.User, m.user.seen})
		}
	}
	return list
}

// delta makes one of what changed, and begins anew.
func (c *changes) next(clock uint64) Delta {
	d := Delta{Clock: clock, Base: c.clock, Lost: c.lost}
	if c.full {
		d.Base = 0
	}
	*c = changes{clock: clock}
	return d
}

// Changes returns what has changed in this pod's part of a channel since the last call. It returns
// false if nothing has. The first Delta after the channel became active has the whole part, and
// later ones may. A channel that is no longer active has its last changes once.
func (p Pods) Changes(host HostName, channelName string) (Delta, bool) {
	var (
		d  Delta
		ok bool
	)
	p.r.withHost(host, func(h *Host) {
		if h != nil && h.channels[channelName] != nil {
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
	d.Conns = len(ch.listeners)
	if full {
		d.Joined = ch.localMembers()
	}
	for id, lost := range users {
		if m := ch.byUser[h.users[id]]; m == nil || m.conns == 0 {
			d.Left = append(d.Left, Departure{id, lost})
		} else {
			d.Joined = append(d.Joined, Member{m.user.User, m.user.seen})
		}
	}
	return d, true
}

// LastClock returns the clock of the last Delta of this pod, of any channel.
func (p Pods) LastClock() uint64 { return p.r.clock.Load() }

// State returns this pod's part of a channel as a Delta that the next result of [Pods.Changes]
// follows. It may have some of the changes of that result already.
func (p Pods) State(host HostName, channelName string) Delta {
	d, _ := p.r.state(host, channelName, func(uint64, int) bool { return true })
	return d
}

// StateAfter returns the result of [Pods.State] if its clock is not known. If known is 0, it
// returns false for a channel without listeners. A call that returns false costs little.
func (p Pods) StateAfter(host HostName, channelName string, known uint64) (Delta, bool) {
	return p.r.state(host, channelName, func(clock uint64, conns int) bool {
		return clock != known && (known != 0 || conns > 0)
	})
}

// state returns the state if the clock and the number of connections are such that it is wanted.
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
			d.Conns = len(ch.listeners)
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

// endings are the last changes of channels that are no longer active. It is safe for
// concurrent use.
type lastChanges struct {
	mu   sync.Mutex // taken last
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

// take returns nil when there is nothing.
func (e *lastChanges) pop(host HostName, channel string) *changes {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.list[channelKey{host, channel}]
	delete(e.list, channelKey{host, channel})
	return c
}

// clock returns 0 when there is nothing, or no delta came before.
func (e *lastChanges) clock(host HostName, channel string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.list[channelKey{host, channel}]; c != nil {
		return c.clock
	}
	return 0
}

func (e *lastChanges) clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = nil
}

// begin starts to take note of what changes in a channel that became active.
func (h *Host) recordChanges(ch *channel) {
	if h.relay == nil {
		return
	}
	ch.changes = &changes{full: true}
	if c := h.registry.lastChanges.pop(h.name, ch.name); c != nil {
		ch.changes.notified, ch.changes.users, ch.changes.lost = true, c.users, c.lost
	}
}

// end leaves the last changes of a channel that is no longer active. They were told of, but
// for those of a channel that has never had a listener: there are none.
func (h *Host) keepLastChanges(ch *channel) {
	if ch.changes != nil && ch.changes.notified {
		h.registry.lastChanges.put(h.name, ch.name, ch.changes)
	}
}
