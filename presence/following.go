package presence

import (
	"math"
	"slices"
	"time"
)

// CacheEncoder is a [FrameEncoder] of connections that receive the last event of cache channels.
type CacheEncoder interface {
	// CacheMiss builds the frame for a cache channel without an event.
	CacheMiss(channel string) []byte
}

// LastAsker is a [Relay] that asks other pods for the last event of cache channels.
type LastAsker interface {
	// AskLast asks the other pods that serve the host for the last event of a channel. The answer
	// is passed to [Pods.LearnLast] with the ID, in any case and soon: joins wait for it. AskLast
	// is called with the lock of the host held, so it must not block or call this package.
	AskLast(host HostName, channel string, id uint64)
}

// askLastAgain is how long the answer of other pods holds if some have not answered.
const askLastAgain = 5 * time.Second

// following is the state of an active cache channel with a connection that receives its last event.
// As long as the channel is active, this pod keeps each event of it. Only when it begins, other
// pods can know an event that this one does not.
type following struct {
	asked   uint64        // ID of the question to other pods; 0 if there is none
	until   time.Duration // how long their answer holds, see Registry.now
	learned uint64        // stamp of the event in their answer; this pod may receive it later
	held    []heldJoin    // joins that wait for the answer
	// answered has learned at the time at which the join of a listener was answered with the last
	// event of the channel, unless it was 0.
	answered map[*membership]uint64

	frame         []byte // last event for the encoding, shared by those who join
	frameStamp    uint64
	frameEncoding Encoding
}

// heldJoin is a join that waits for the last event.
type heldJoin struct {
	m     *membership
	watch Watch
	ref   string
}

// answerJoin answers the join of a membership, which is new or not. If it is to receive the last
// event of the channel, which other pods are asked for, the answer waits for theirs.
func (h *Host) answerJoin(m *membership, isNew bool, watch Watch, ref string) {
	ch := m.channel
	watch = h.startCount(m, watch)
	if isNew && m.conn.encoding != 0 && IsCacheChannel(ch.name) {
		m.lastDue = true
		ch.outgoing.skipAll(m.conn)
	}
	if m.lastDue && !h.follow(ch) {
		ch.following.hold(heldJoin{m, watch, ref})
		return
	}
	h.setWatch(m, watch, ref)
}

// follow reports whether this pod has the last event of the channel. If not, it asks other pods.
func (h *Host) follow(ch *channel) bool {
	f := ch.following
	if f == nil {
		f = new(following)
		ch.ensureExtras().following = f
	}
	if h.registry.now() < f.until {
		return true
	}
	asker, ok := h.relay.(LastAsker)
	if !ok {
		return true
	}
	if f.asked == 0 {
		f.asked = h.registry.last.nextQuestion()
		asker.AskLast(h.name, ch.name, f.asked)
	}
	return false
}

func (f *following) hold(j heldJoin) {
	if i := slices.IndexFunc(f.held, func(other heldJoin) bool { return other.m == j.m }); i >= 0 {
		f.held[i] = j
		return
	}
	f.held = append(f.held, j)
}

// answer records that the join of a membership is answered with the last event of the channel.
func (f *following) answer(m *membership) {
	switch {
	case f.learned == 0:
		delete(f.answered, m)
	case f.answered == nil:
		f.answered = map[*membership]uint64{m: f.learned}
	default:
		f.answered[m] = f.learned
	}
}

// unhold forgets the join of a membership that ends.
func (f *following) unhold(m *membership) {
	if f != nil {
		delete(f.answered, m)
		f.held = slices.DeleteFunc(f.held, func(j heldJoin) bool { return j.m == m })
	}
}

// LearnLast answers the question with the ID, see [LastAsker]. found says that a pod keeps an
// event, and complete that all pods have answered. The event may come from the network without
// validation; it is not retained.
func (p Pods) LearnLast(host HostName, channelName string, id uint64, e LastEvent, found, complete bool) {
	p.r.withHost(host, func(h *Host) {
		if h == nil {
			return
		}
		ch := h.channels[channelName]
		if ch == nil || ch.following == nil || ch.following.asked != id {
			return
		}
		f := ch.following
		if found && p.r.put(host, keptEvent{LastEvent: e, channel: channelName}, h.time()) {
			f.learned = e.Stamp
		}
		f.until = math.MaxInt64
		if !complete {
			f.until = p.r.now() + askLastAgain
		}
		h.answerHeld(ch)
	})
}

// DoubtLast makes the next joins of cache channels ask other pods, because this pod may have missed
// events.
func (p Pods) DoubtLast() {
	if p.r.last.ttl == nil {
		return
	}
	for _, h := range p.r.Hosts() {
		h.mu.Lock()
		for _, ch := range h.channels {
			if ch.following != nil {
				ch.following.until = 0
			}
		}
		h.mu.Unlock()
	}
}

// answerHeld answers the joins that wait for the last event.
func (h *Host) answerHeld(ch *channel) {
	held := ch.following.held
	ch.following.asked, ch.following.held = 0, nil
	for _, j := range held {
		if j.m.may&MaySee == 0 {
			j.watch = WatchNone
		}
		h.setWatch(j.m, j.watch, j.ref)
	}
	if len(held) > 0 {
		h.scheduleFlush(ch)
	}
}

// refollow asks the pods of another relay, or answers the joins that wait if there is none.
func (h *Host) refollow(ch *channel) {
	f := ch.following
	if f == nil {
		return
	}
	f.asked, f.until = 0, 0
	if len(f.held) > 0 && h.follow(ch) {
		h.answerHeld(ch)
	}
}

// pushLast sends the last event of a cache channel to a membership whose join was answered.
func (h *Host) pushLast(m *membership) {
	if !m.lastDue {
		return
	}
	ch, c := m.channel, m.conn
	m.lastDue = false
	ch.following.answer(m)
	if frame := h.lastFrame(ch, c.encoding); frame != nil {
		c.push(frame)
		return
	}
	if e, ok := c.frames().(CacheEncoder); ok {
		c.push(e.CacheMiss(ch.name))
	}
	if missed := h.registry.last.missed; missed != nil {
		missed(h.name, ch.name)
	}
}

// lastFrame returns the last event of a channel as a frame; nil if there is none.
func (h *Host) lastFrame(ch *channel, encoding Encoding) []byte {
	e, ok := h.registry.lastEvent(h.name, ch.name)
	if !ok {
		return nil
	}
	f := ch.following
	if f.frame == nil || f.frameStamp != e.Stamp || f.frameEncoding != encoding {
		f.frame = h.encodeMessage(encoding, ch.name, Source{Backend: true, Raw: e.Raw}, e.Body)
		f.frameStamp, f.frameEncoding = e.Stamp, encoding
	}
	return f.frame
}

// skipping returns the connections that do not receive a message: those that wait for the answer to
// their join, which comes first. If the message is the last event, it follows the answer. An event
// that follows the answer of other pods can arrive here later, or one before it; stamp is that of
// the message.
func (ch *channel) skipping(stamp uint64) (list []*Conn) {
	f := ch.following
	if stamp != 0 && stamp <= f.learned {
		for _, m := range ch.listeners {
			if stamp <= f.answered[m] || m.lastDue {
				list = append(list, m.conn)
			}
		}
		return list
	}
	for _, j := range f.held {
		list = append(list, j.m.conn)
	}
	for _, m := range ch.joiners {
		if m.lastDue {
			list = append(list, m.conn)
		}
	}
	return list
}
