package presence

import (
	"slices"
	"sync"
)

const (
	// batchSize is the maximum number of bytes that are joined in one batch. A larger frame is a
	// batch of its own.
	batchSize = 32 << 10
	// roundStep is how many listeners queue a batch before the host's lock is released: about a
	// tenth of a millisecond.
	roundStep = 1024
)

// outgoing has the messages that a channel has to deliver. It exists only while a goroutine runs
// [Host.deliver]. The host's lock guards it. Frames are joined here, once for all listeners, so
// that one write delivers many messages to a connection.
type outgoing struct {
	batches []batch
	bytes   int
}

// batch is a sequence of n whole frames of one encoding.
type batch struct {
	encoding Encoding
	frames   []byte
	n        int
	except   map[*Conn][]span // frames that a connection does not receive, in order; nil if there are none
}

// span is the place of one frame in a batch.
type span struct {
	index    int // number of frames before it
	from, to int // in batch.frames
}

// add adds a frame for all listeners with the encoding, except for one if except is not nil, and
// except for others.
func (o *outgoing) add(e Encoding, frame []byte, except *Conn, also ...*Conn) {
	p := o.append(e, frame)
	if except != nil && except.encoding == e {
		p.skipLast(except, len(frame))
	}
	for _, c := range also {
		if c != except && c.encoding == e {
			p.skipLast(c, len(frame))
		}
	}
}

// skipLast excepts a connection from the last frame, whose size is in bytes.
func (b *batch) skipLast(c *Conn, size int) {
	b.skip(c, append(b.except[c], span{b.n - 1, len(b.frames) - size, len(b.frames)})...)
}

// skip sets from which frames a connection is excepted.
func (b *batch) skip(c *Conn, frames ...span) {
	if b.except == nil {
		b.except = make(map[*Conn][]span)
	}
	b.except[c] = frames
}

// skipAll excepts a connection from all frames until now.
func (o *outgoing) skipAll(c *Conn) {
	if o == nil {
		return
	}
	for i := range o.batches {
		if b := &o.batches[i]; b.encoding == c.encoding {
			b.skip(c, span{b.n - 1, 0, len(b.frames)})
		}
	}
}

func (o *outgoing) append(e Encoding, frame []byte) *batch {
	o.bytes += len(frame)
	i := len(o.batches) - 1
	for i >= 0 && o.batches[i].encoding != e {
		i--
	}
	if i >= 0 && len(o.batches[i].frames)+len(frame) <= batchSize {
		p := &o.batches[i]
		if p.n == 1 {
			p.frames = slices.Clip(p.frames) // do not append in the memory of the encoder
		}
		p.frames = append(p.frames, frame...)
		p.n++
		return p
	}
	o.batches = append(o.batches, batch{encoding: e, frames: frame, n: 1})
	return &o.batches[len(o.batches)-1]
}

// queue queues the frames for a listener, and reports whether the caller must flush its outbox.
func (b *batch) queue(c *Conn) (flush bool) {
	if b.except == nil { // nearly always
		return c.out.Queue(b.frames, b.n)
	}
	from, sent := 0, 0
	for _, s := range b.except[c] {
		if s.from > from {
			flush = c.out.Queue(b.frames[from:s.from:s.from], s.index-sent) || flush
		}
		from, sent = s.to, s.index+1
	}
	if from < len(b.frames) {
		flush = c.out.Queue(b.frames[from:], b.n-sent) || flush
	}
	return flush
}

// enqueue adds a message to the outgoing ones of the channel, once in each encoding that a listener
// has. The connection except, if not nil, does not receive it.
func (h *Host) enqueue(ch *channel, from Source, message []byte, except *Conn) {
	var also []*Conn
	if ch.following != nil {
		also = ch.skipping(from.Keep.Stamp)
	}
	for e := range Encoding(h.encoders()) {
		if !ch.hears(e) {
			continue
		}
		frame := h.encodeMessage(e, ch.name, from, message)
		if frame == nil {
			continue
		}
		h.pending += len(frame)
		if ch.outgoing == nil {
			ch.outgoing = &outgoing{}
			go h.deliver(ch) // ends when no message is left
		}
		ch.outgoing.add(e, frame, except, also...)
	}
}

// dropOutgoing drops the messages of a channel that is no longer active: it has no listeners.
func (h *Host) dropOutgoing(ch *channel) {
	if ch.outgoing != nil {
		h.pending -= ch.outgoing.bytes
		ch.outgoing = nil
	}
}

// round is the delivery of one batch to the connections that were listeners when it began.
type round struct {
	batch     batch
	listeners []*membership
	done      int      // number of listeners that have been handled
	unflushed []Outbox // outboxes to flush
}

var rounds = sync.Pool{New: func() any { return new(round) }}

// maxRound limits the listeners of a round that returns to the pool.
const maxRound = 16 << 10

// deliver delivers the messages of a channel in rounds until none is left. Each channel has at most
// one deliver, so messages keep their order. Messages that are sent during a round wait for the
// next one: the longer a round takes, the more messages one write has.
//
// The host's lock is held while outboxes queue a batch. So all connections receive it in the same
// place among the presence frames, and none receives it after leaving. Outboxes are flushed without
// a lock.
func (h *Host) deliver(ch *channel) {
	r, _ := rounds.Get().(*round)
	for h.startRound(ch, r) {
		for r.done < len(r.listeners) {
			h.queueRound(ch, r)
			for _, out := range r.unflushed {
				out.Flush()
			}
			clear(r.unflushed)
			r.unflushed = r.unflushed[:0]
		}
	}
	if cap(r.listeners) <= maxRound {
		rounds.Put(r)
	}
}

// startRound prepares the next round. It returns false if no message is left.
func (h *Host) startRound(ch *channel, r *round) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.batch = batch{}
	o := ch.outgoing
	if o == nil {
		return false
	}
	if len(o.batches) == 0 {
		ch.outgoing = nil
		return false
	}
	r.batch, o.batches = o.batches[0], o.batches[1:]
	o.bytes -= len(r.batch.frames)
	h.pending -= len(r.batch.frames)
	r.listeners, r.done = r.listeners[:0], 0
	if ch.onlyHears(r.batch.encoding) {
		r.listeners = append(r.listeners, ch.listeners...)
		return true
	}
	for _, m := range ch.listeners {
		if m.conn.encoding == r.batch.encoding {
			r.listeners = append(r.listeners, m)
		}
	}
	return true
}

// queueRound queues the batch for the next listeners, unless they have left since the round began.
func (h *Host) queueRound(ch *channel, r *round) {
	h.mu.Lock()
	defer h.mu.Unlock()
	turn := r.listeners[r.done:min(r.done+roundStep, len(r.listeners))]
	for _, m := range turn {
		if int(m.index) >= len(ch.listeners) || ch.listeners[m.index] != m {
			continue
		}
		if r.batch.queue(m.conn) {
			r.unflushed = append(r.unflushed, m.conn.out)
		}
	}
	clear(turn)
	r.done += len(turn)
}
