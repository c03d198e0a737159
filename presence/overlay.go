package presence

import "time"

// overlay is what frames show of a channel besides the connections of this pod: what other pods
// have of it, and what was lost and may be back within the grace. It is there only while somebody
// watches. The host's lock guards it.
type overlay struct {
	relayed bool                // the relay knows that the channel is watched
	syncing bool                // joiners wait for Pods.Ready; there is no watcher yet
	parts   map[string]*podPart // by pod
	conns   int                 // of all parts

	inGrace     graceHeap
	lossBatches []lossBatch // of channels without users, in the order of loss
	lostConns   int         // connections that the tokens stand for
	timer       *time.Timer
	due         time.Duration // when the timer fires, by Registry.now; 0: never
}

// part is what another pod has of a channel.
type podPart struct {
	clock uint64 // of the last delta
	conns int
	users map[string]datedEmail // by ID
}

// mail is an e-mail address with the time at which it was learned, see Member.
type datedEmail struct {
	email string
	seen  int64
}

// newer tells which of two addresses holds. All pods choose the same of two that were learned at
// one time.
func (a datedEmail) newer(b datedEmail) bool {
	switch {
	case a.email == "" || b.email == "":
		return a.email != ""
	case a.seen != b.seen:
		return a.seen > b.seen
	}
	return a.email > b.email
}

// trace is what there is of a member besides the connections of this pod.
type memberOverlay struct {
	member     *member
	pods       int           // other pods that have the user
	email      string        // the one to show
	until      time.Duration // when the grace ends, by Registry.now
	graceIndex int           // in overlay.absent, -1 when not there
}

// extra returns the overlay of the channel, to be added to.
func (ch *channel) ensureOverlay() *overlay {
	if ch.overlay == nil {
		ch.overlay = new(overlay)
	}
	return ch.overlay
}

func (ch *channel) syncing() bool { return ch.overlay != nil && ch.overlay.syncing }

// traced returns the member's trace, to be added to.
func (m *member) ensureOverlay() *memberOverlay {
	if m.overlay == nil {
		m.overlay = &memberOverlay{member: m, email: m.user.Email, graceIndex: -1}
	}
	return m.overlay
}

// follow sees to what comes of a change in where a member is. It is given whether the member was
// there before, and whether what ended, if something did, was lost.
func (h *Host) updateMember(m *member, was, lost bool) {
	switch {
	case m.inGrace():
		if m.connected() || !lost {
			m.channel.overlay.inGrace.remove(m.overlay)
		}
	case was && lost && !m.connected():
		h.startGrace(m)
	}
	m.updateEmail()
	there := m.visible()
	if there == was {
		return
	}
	if there {
		m.channel.visible++
	} else {
		m.channel.visible--
	}
	m.channel.markDirty(m)
}

// readdress chooses the e-mail to show again. One who has no connection keeps the last.
func (m *member) updateEmail() {
	t := m.overlay
	if t == nil || !m.connected() {
		return
	}
	var best datedEmail
	if m.conns > 0 {
		best = datedEmail{m.user.Email, m.user.seen}
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
		m.overlay = nil
	}
}

// idle forgets the overlay when nobody watches the channel.
func (h *Host) dropOverlay(ch *channel) {
	o := ch.overlay
	if o == nil || len(ch.watchers)+len(ch.joiners) > 0 {
		return
	}
	if o.relayed {
		h.relay.Unwatched(h.name, ch.name)
	}
	h.forgetPods(ch)
	for len(o.inGrace) > 0 {
		h.updateMember(o.inGrace[0].member, true, false)
	}
	o.stopTimer()
	ch.overlay = nil
}

// separate forgets what other pods have.
func (h *Host) forgetPods(ch *channel) {
	o := ch.overlay
	o.relayed, o.syncing, o.parts, o.conns = false, false, nil, 0
	for _, m := range ch.members {
		if m.overlay != nil && m.overlay.pods > 0 {
			m.overlay.pods = 0
			h.updateMember(m, true, false)
		}
	}
}
