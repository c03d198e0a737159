package presence

import (
	"slices"
	"time"
)

// Watch is how much of a channel's presence a listener receives.
type Watch uint8

// Ways to watch a channel.
const (
	WatchNone  Watch = iota // no presence frames
	WatchCount              // number of members, then diffs
	WatchList               // list of members, then diffs
)

// A presence frame costs about a queue entry and a write for each watcher. So a channel with many
// watchers is flushed less often: many joins then share a frame, and a crowd costs time in
// proportion to its size, not to the square of it. The same applies to the list of members, which
// is encoded under the host's lock.
const (
	flushCostPerWatcher = 20 * time.Microsecond
	flushCostPerMember  = 2 * time.Microsecond // of a list that is not kept: 12 times the cost of encoding
	minFlushWait        = 2 * time.Millisecond // shorter waits are skipped
	maxFlushWait        = 250 * time.Millisecond
)

// setWatch sets what a listener watches. It answers the join, or leaves the answer to the next
// flush.
func (h *Host) setWatch(m *membership, watch Watch, ref string) {
	if m.joining {
		h.answerEarly(m) // answer the previous join first
	}
	h.unwatch(m)
	m.watch = watch
	if watch == WatchNone {
		h.dropOverlay(m.channel)
		m.self = h.answersSelf(m)
		j := Joined{
			Ref: ref, Channel: m.channel.name, Kind: m.channel.class.Kind, Grant: m.channel.class.Grant, May: m.may, Self: h.self(m, false),
		}
		m.conn.push(m.conn.frames().Joined(j))
		h.pushLast(m)
		return
	}
	m.joining = true
	m.channel.joiners = append(m.channel.joiners, joiner{m, ref})
	if h.relay != nil && !m.channel.relayed() {
		h.notifyWatched(m.channel)
		m.channel.overlay.syncing = true
	}
}

func (h *Host) unwatch(m *membership) {
	ch := m.channel
	if m.joining {
		i := m.joinerIndex()
		ch.joiners = slices.Delete(ch.joiners, i, i+1)
		m.joining = false
	}
	if m.watchIndex >= 0 {
		ch.watchers.remove(m.watchIndex, func(m *membership) *int32 { return &m.watchIndex })
		m.watchIndex = -1
	}
}

// joinerIndex returns the index in channel.joiners; -1 if there is none.
func (m *membership) joinerIndex() int {
	return slices.IndexFunc(m.channel.joiners, func(j joiner) bool { return j.membership == m })
}

// scheduleFlush flushes the channel, now or within maxFlushWait.
func (h *Host) scheduleFlush(ch *channel) {
	if ch.timer != nil {
		return
	}
	wait := time.Duration(len(ch.watchers)+len(ch.joiners)) * flushCostPerWatcher
	if slices.ContainsFunc(ch.joiners, joiner.waitsForList) {
		wait = max(wait, time.Duration(ch.visible)*flushCostPerMember)
	}
	if wait >= minFlushWait {
		wait = min(wait, maxFlushWait) - (h.registry.now() - ch.lastFlush)
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
		if ch.timer != nil { // otherwise flushed or deactivated meanwhile
			h.flush(ch)
		}
	})
}

// flush sends the diff to the watchers, then the resulting snapshot to the joiners. So a connection
// receives each change in a diff or in the snapshot, never in both.
func (h *Host) flush(ch *channel) {
	if ch.timer != nil {
		ch.timer.Stop()
		ch.timer = nil
	}
	h.hideNow()
	was := ch.nameless
	h.updateNames(ch)
	d, moved := h.makeDiff(ch)
	if ch.kindChanged {
		ch.kindChanged, d.Kind = false, ch.class.Kind
	}
	d.setNames(ch, was)
	changed := len(d.Joined)+len(d.Left)+len(d.Updated) > 0 || d.Count != int(ch.shownCount) || d.Kind != 0 || was != ch.nameless
	ch.shownCount = int32(d.Count)
	if len(ch.watchers)+len(ch.joiners) == 0 {
		return
	}
	ch.lastFlush = h.registry.now()
	if changed && len(ch.watchers) > 0 {
		h.pushDiff(ch, d)
	}
	for _, m := range moved {
		m.inDiff = false
	}
	if !ch.syncing() {
		h.checkSnapshot(ch)
		before := len(ch.watchers)
		h.answerJoins(ch)
		if ch.connCounter != nil {
			h.pushConnCount(ch, before)
		}
	}
	if len(ch.dirty) > 0 {
		h.restateLater(ch)
	}
}

// makeDiff returns what has changed since the last flush, and marks it as shown. If there can be
// watchers with another encoding than the native one, moved are the members that have come or gone.
func (h *Host) makeDiff(ch *channel) (d Diff, moved []*member) {
	d = Diff{Channel: ch.name, Hide: h.hide, Count: ch.count()}
	watched := len(ch.watchers) > 0 // otherwise no connection receives the lists
	var waiting []*member
	foreign := ch.foreigners() > 0
	for _, m := range ch.dirty {
		if m.waits(ch) {
			waiting = append(waiting, m)
			continue
		}
		visible, view := m.visible(), m.view()
		show := visible && ch.named() && !ch.nameless && !view.hidden()
		shown := m.seen == seenUser
		if show != shown || show && m.change != viewSame {
			ch.snapshots = nil
		}
		if watched {
			joins := show && !shown
			if shown {
				last := m.lastView()
				if joins = show && view.id() != last.id(); joins || !show {
					d.Left = append(d.Left, last)
				}
			}
			switch {
			case joins:
				d.Joined = append(d.Joined, view)
			case show && m.change != viewSame:
				d.Updated = append(d.Updated, view)
			}
			if foreign && (joins || shown && !show) {
				m.inDiff = true
				moved = append(moved, m)
			}
		}
		switch {
		case show:
			m.seen = seenUser
		case visible:
			m.seen = seenCount
		default:
			m.seen = seenNothing
		}
		m.change, m.dirty = viewSame, false
		ch.keepView(m, &view)
		if !visible {
			h.removeMember(m)
		}
	}
	clear(ch.dirty)
	ch.dirty = append(ch.dirty[:0], waiting...)
	if len(waiting) == 0 && cap(ch.dirty) > 64 {
		ch.dirty = nil
	}
	return d, moved
}

// joinKey is what distinguishes the answers to the joins of one flush.
type joinKey struct {
	ref      string
	watch    Watch
	may      Permissions
	encoding Encoding
}

// answerJoins sends the joiners their snapshots. After a restart, many clients join with the same
// few refs, so equal answers are encoded once: a list can have megabytes, and wait in many queues.
func (h *Host) answerJoins(ch *channel) {
	var frames map[joinKey][]byte
	if len(ch.joiners) > 0 { // most flushes have no joiners
		frames = make(map[joinKey][]byte)
	}
	for i, j := range ch.joiners {
		m := j.membership
		key := joinKey{j.ref, m.watch, m.may, m.conn.encoding}
		switch self := h.self(m, m.listsMembers()); {
		case self != nil:
			m.conn.push(h.encodeJoined(m, j.ref))
		case frames[key] == nil:
			frames[key] = h.encodeJoined(m, j.ref)
			fallthrough
		default:
			m.self = h.answersSelf(m)
			m.conn.push(frames[key])
		}
		h.pushLast(m)
		m.joining = false
		m.watchIndex = int32(len(ch.watchers))
		ch.watchers = append(ch.watchers, m)
		ch.joiners[i] = joiner{}
	}
	ch.joiners = nil
	ch.dropShortSnapshots()
}

// minKeptSnapshot is the least number of bytes of a snapshot that is kept until it changes. A
// shorter one is cheap to encode.
const minKeptSnapshot = 16 << 10

// answerEarly answers one join before the flush, with what watchers have seen. It does not flush: a
// connection that joins and leaves in a loop must not make a busy channel flush each time. The
// joiner leaves or joins again at once, so it needs no diff.
func (h *Host) answerEarly(m *membership) {
	m.conn.push(h.encodeJoined(m, m.channel.joiners[m.joinerIndex()].ref))
	h.pushLast(m)
}

// listsMembers reports whether the answer to the join has members.
func (m *membership) listsMembers() bool {
	return m.watch == WatchList && m.channel.named() && !m.channel.nameless
}

// waitsForList reports whether the answer to the join has members whose list is not kept.
func (m *membership) waitsForList() bool {
	return m.listsMembers() && m.channel.kept(m.conn.encoding) == nil
}

// encodeJoined encodes the answer to a join with the ref.
func (h *Host) encodeJoined(m *membership, ref string) []byte {
	h.hideNow()
	ch := m.channel
	j := Joined{
		Ref: ref, Channel: ch.name, Kind: ch.class.Kind, Grant: ch.class.Grant, May: m.may, Watch: m.watch,
		Seq: ch.seq, Count: int(ch.shownCount), Unnamed: ch.nameless,
	}
	if m.listsMembers() {
		if j.Members = h.membersSeen(ch, m.conn.encoding); len(j.Members) > maxList { // the join is answered before a flush
			j.Members, j.Unnamed = nil, true
		}
	}
	j.Self, m.self = h.self(m, j.Members != nil), h.answersSelf(m)
	return m.conn.frames().Joined(j)
}
