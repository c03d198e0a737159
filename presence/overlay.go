package presence

import "time"

// overlay is what frames show of a channel besides the connections of this pod: what other pods
// have of it, and what was lost and may be back within the grace. It is there only while somebody
// watches. The host's lock guards it.
type overlay struct {
	relayed bool             // the relay knows that the channel is watched
	syncing bool             // joiners wait for Pods.Ready; there is no watcher yet
	parts   map[string]*part // by pod
	conns   int              // of all parts

	absent absences
	tokens []token // of channels without users, in the order of loss
	held   int     // connections that the tokens stand for
	timer  *time.Timer
	due    time.Duration // when the timer fires, by Registry.now; 0: never
}

// part is what another pod has of a channel.
type part struct {
	clock uint64 // of the last delta
	conns int
	users map[string]mail // by ID
}

// mail is an e-mail address with the time at which it was learned, see Member.
type mail struct {
	email string
	seen  int64
}

// newer tells which of two addresses holds. All pods choose the same of two that were learned at
// one time.
func (a mail) newer(b mail) bool {
	switch {
	case a.email == "" || b.email == "":
		return a.email != ""
	case a.seen != b.seen:
		return a.seen > b.seen
	}
	return a.email > b.email
}

// trace is what there is of a member besides the connections of this pod.
type trace struct {
	member *member
	pods   int           // other pods that have the user
	email  string        // the one to show
	until  time.Duration // when the grace ends, by Registry.now
	place  int           // in overlay.absent, -1 when not there
}

// extra returns the overlay of the channel, to be added to.
func (ch *channel) extra() *overlay {
	if ch.overlay == nil {
		ch.overlay = new(overlay)
	}
	return ch.overlay
}

func (ch *channel) syncing() bool { return ch.overlay != nil && ch.overlay.syncing }

// traced returns the member's trace, to be added to.
func (m *member) traced() *trace {
	if m.trace == nil {
		m.trace = &trace{member: m, email: m.user.Email, place: -1}
	}
	return m.trace
}

// follow sees to what comes of a change in where a member is. It is given whether the member was
// there before, and whether what ended, if something did, was lost.
func (h *Host) follow(m *member, was, lost bool) {
	switch {
	case m.absent():
		if m.here() || !lost {
			m.channel.overlay.absent.remove(m.trace)
		}
	case was && lost && !m.here():
		h.miss(m)
	}
	m.readdress()
	there := m.there()
	if there == was {
		return
	}
	if there {
		m.channel.present++
	} else {
		m.channel.present--
	}
	m.channel.markDirty(m)
}

// readdress chooses the e-mail to show again. One who has no connection keeps the last.
func (m *member) readdress() {
	t := m.trace
	if t == nil || !m.here() {
		return
	}
	var best mail
	if m.refs > 0 {
		best = mail{m.user.Email, m.user.seen}
	}
	if t.pods > 0 {
		for _, p := range m.channel.overlay.parts {
			if known := p.users[m.user.ID]; known.newer(best) {
				best = known
			}
		}
	}
	if best.email != t.email {
		t.email, m.updated = best.email, true
		m.channel.markDirty(m)
	}
	if t.pods == 0 {
		m.trace = nil
	}
}

// idle forgets the overlay when nobody watches the channel.
func (h *Host) idle(ch *channel) {
	o := ch.overlay
	if o == nil || len(ch.watchers)+len(ch.joiners) > 0 {
		return
	}
	if o.relayed {
		h.relay.Unwatched(h.name, ch.name)
	}
	h.separate(ch)
	for len(o.absent) > 0 {
		h.follow(o.absent[0].member, true, false)
	}
	o.stop()
	ch.overlay = nil
}

// separate forgets what other pods have.
func (h *Host) separate(ch *channel) {
	o := ch.overlay
	o.relayed, o.syncing, o.parts, o.conns = false, false, nil, 0
	for _, m := range ch.members {
		if m.trace != nil && m.trace.pods > 0 {
			m.trace.pods = 0
			h.follow(m, true, false)
		}
	}
}
