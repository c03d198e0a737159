package presence

import (
	"slices"
	"time"
)

// Watch is how much of a channel's presence a listener receives.
type Watch uint8

// The three ways to watch a channel.
const (
	WatchNone  Watch = iota // no presence frames
	WatchCount              // the number of members
	WatchList               // the members
)

// A frame costs about a queue entry and a write for each watcher, so a channel with many watchers
// is flushed less often: joins then come together in one frame, and the cost of a crowd arriving
// grows with it and not with its square. The same goes for the list of who is present, which is
// made with the host's lock held.
const (
	flushCostPerWatcher = 20 * time.Microsecond
	flushCostPerMember  = 2 * time.Microsecond // of a list that is not kept: 12 times what it takes
	minFlushWait        = 2 * time.Millisecond // below this, there is no waiting at all
	maxFlushWait        = 250 * time.Millisecond
)

// watch sets how much a listener hears, and answers its join or has the next flush answer it.
func (h *Host) setWatch(m *membership, watch Watch, ref string) {
	if m.joining {
		h.answerEarly(m) // the join before this one is answered first
	}
	h.unwatch(m)
	m.watch = watch
	if watch == WatchNone {
		h.dropOverlay(m.channel)
		j := Joined{Ref: ref, Channel: m.channel.name, Kind: m.channel.class.Kind}
		m.conn.out.Push(h.registry.encoder.Joined(j))
		return
	}
	m.ref, m.joining = ref, true
	m.channel.joiners = append(m.channel.joiners, m)
	if h.relay != nil && !m.channel.relayed() {
		h.notifyWatched(m.channel)
		m.channel.overlay.syncing = true
	}
}

func (h *Host) unwatch(m *membership) {
	ch := m.channel
	if m.joining {
		i := slices.Index(ch.joiners, m)
		ch.joiners = slices.Delete(ch.joiners, i, i+1)
		m.ref, m.joining = "", false
	}
	if m.watchIndex >= 0 {
		ch.watchers.remove(m.watchIndex, func(m *membership) *int { return &m.watchIndex })
		m.watchIndex = -1
	}
}

// changed sees to it that watchers hear of what happened in the channel, now or soon.
func (h *Host) scheduleFlush(ch *channel) {
	if ch.timer != nil {
		return
	}
	wait := time.Duration(len(ch.watchers)+len(ch.joiners)) * flushCostPerWatcher
	if ch.snapshot == nil && slices.ContainsFunc(ch.joiners, (*membership).listsMembers) {
		wait = max(wait, time.Duration(ch.visible)*flushCostPerMember)
	}
	if wait >= minFlushWait {
		wait = min(wait, maxFlushWait) - time.Since(ch.lastFlush)
	} else {
		wait = 0
	}
	if wait <= 0 {
		h.flush(ch)
		return
	}
	ch.timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if ch.timer != nil { // else flushed or deactivated between
			h.flush(ch)
		}
	})
}

// flush tells the watchers what changed, then gives those who joined their snapshot of the outcome.
// So a change is in the diff or in the snapshot that a connection gets, and never in both.
func (h *Host) flush(ch *channel) {
	if ch.timer != nil {
		ch.timer.Stop()
		ch.timer = nil
	}
	d := h.makeDiff(ch)
	if ch.kindChanged {
		ch.kindChanged, d.Kind = false, ch.class.Kind
	}
	changed := len(d.Joined)+len(d.Left)+len(d.Updated) > 0 || d.Count != ch.shownCount || d.Kind != 0
	ch.shownCount = d.Count
	if len(ch.watchers)+len(ch.joiners) == 0 {
		return
	}
	ch.lastFlush = time.Now()
	if changed && len(ch.watchers) > 0 {
		ch.seq++
		d.Seq = ch.seq
		frame := h.registry.encoder.Presence(d)
		for _, m := range ch.watchers {
			m.conn.out.Push(frame)
		}
	}
	if !ch.syncing() {
		h.answerJoins(ch)
	}
}

// settle compares what is with what was shown, and makes them equal.
func (h *Host) makeDiff(ch *channel) Diff {
	d := Diff{Channel: ch.name, Count: ch.count()}
	told := len(ch.watchers) > 0 // otherwise the lists are for nobody
	for _, m := range ch.dirty {
		there := m.visible()
		show := there && ch.named()
		if show != m.shown || show && m.updated {
			ch.snapshot = nil
		}
		if told {
			switch {
			case show && !m.shown:
				d.Joined = append(d.Joined, m.shownUser())
			case !show && m.shown:
				d.Left = append(d.Left, m.shownUser())
			case show && m.updated:
				d.Updated = append(d.Updated, m.shownUser())
			}
		}
		m.shown, m.counted, m.updated, m.dirty = show, there, false, false
		if !there {
			h.removeMember(m)
		}
	}
	clear(ch.dirty)
	ch.dirty = ch.dirty[:0]
	if cap(ch.dirty) > 64 {
		ch.dirty = nil
	}
	return d
}

// joinKey is what the answers to joins differ in, of those that come at the same time.
type joinKey struct {
	ref   string
	watch Watch
}

// answer sends the joiners their snapshots. A crowd that is back after a restart joins with the
// same few references, so what is the same is encoded once: a list can have megabytes, and wait in
// many queues.
func (h *Host) answerJoins(ch *channel) {
	var frames map[joinKey][]byte
	if len(ch.joiners) > 0 { // most flushes have none
		frames = make(map[joinKey][]byte)
	}
	for i, m := range ch.joiners {
		key := joinKey{m.ref, m.watch}
		if frames[key] == nil {
			frames[key] = h.encodeJoined(m)
		}
		m.conn.out.Push(frames[key])
		m.ref, m.joining = "", false
		m.watchIndex = len(ch.watchers)
		ch.watchers = append(ch.watchers, m)
		ch.joiners[i] = nil
	}
	ch.joiners = nil
	if len(ch.snapshot) < minKeptSnapshot {
		ch.snapshot = nil
	}
}

// keptSnapshot is from how many bytes on the list of a channel is kept until it changes. A shorter
// one is made in no time.
const minKeptSnapshot = 16 << 10

// answerEarly answers one joiner ahead of the flush, with what the watchers were told last, and
// without telling anyone else: a connection that joins and leaves in a loop must not make a busy
// channel flush each time. The joiner is about to leave or to join anew, so it needs no diff on
// top.
func (h *Host) answerEarly(m *membership) { m.conn.out.Push(h.encodeJoined(m)) }

// listsNames reports whether the answer to the join has members.
func (m *membership) listsMembers() bool { return m.watch == WatchList && m.channel.named() }

// encodeJoined makes the answer to a join.
func (h *Host) encodeJoined(m *membership) []byte {
	ch := m.channel
	j := Joined{
		Ref: m.ref, Channel: ch.name, Kind: ch.class.Kind, Watch: m.watch,
		Seq: ch.seq, Count: ch.shownCount,
	}
	if m.listsMembers() {
		if ch.snapshot == nil {
			ch.snapshot = h.registry.encoder.Members(ch.shownUsers())
		}
		j.Members = ch.snapshot
	}
	return h.registry.encoder.Joined(j)
}

// shown lists the users whom the watchers know of.
func (ch *channel) shownUsers() []User {
	users := make([]User, 0, ch.visible)
	for _, m := range ch.members {
		if m.shown {
			users = append(users, m.shownUser())
		}
	}
	return users
}
