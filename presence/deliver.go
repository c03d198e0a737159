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

// batch is a sequence of n whole frames.
type batch struct {
	frames []byte
	n      int
	except map[*Conn][]span // frames that a connection does not receive, in order; nil if there are none
}

// span is the place of one frame in a batch.
type span struct {
	index    int // number of frames before it
	from, to int // in batch.frames
}

// add adds a frame for all listeners, except for one if except is not nil.
func (o *outgoing) add(frame []byte, except *Conn) {
	o.append(frame)
	if except == nil {
		return
	}
	p := &o.batches[len(o.batches)-1]
	if p.except == nil {
		p.except = make(map[*Conn][]span)
	}
	p.except[except] = append(p.except[except], span{p.n - 1, len(p.frames) - len(frame), len(p.frames)})
}

func (o *outgoing) append(frame []byte) {
	o.bytes += len(frame)
	if i := len(o.batches) - 1; i >= 0 && len(o.batches[i].frames)+len(frame) <= batchSize {
		p := &o.batches[i]
		if p.n == 1 {
			p.frames = slices.Clip(p.frames) // do not append in the memory of the encoder
		}
		p.frames = append(p.frames, frame...)
		p.n++
		return
	}
	o.batches = append(o.batches, batch{frames: frame, n: 1})
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

// enqueue adds a message to the outgoing ones of the channel. The connection except, if not nil, does
// not receive it.
func (h *Host) enqueue(ch *channel, from Source, message []byte, except *Conn) {
	frame := h.encodeMessage(ch.name, from, message)
	h.pending += len(frame)
	if ch.outgoing != nil {
		ch.outgoing.add(frame, except)
		return
	}
	ch.outgoing = &outgoing{}
	ch.outgoing.add(frame, except)
	go h.deliver(ch) // ends when no message is left
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
	r.listeners, r.done = append(r.listeners[:0], ch.listeners...), 0
	return true
}

// queueRound queues the batch for the next listeners, unless they have left since the round began.
func (h *Host) queueRound(ch *channel, r *round) {
	h.mu.Lock()
	defer h.mu.Unlock()
	turn := r.listeners[r.done:min(r.done+roundStep, len(r.listeners))]
	for _, m := range turn {
		if m.index >= len(ch.listeners) || ch.listeners[m.index] != m {
			continue
		}
		if r.batch.queue(m.conn) {
			r.unflushed = append(r.unflushed, m.conn.out)
		}
	}
	clear(turn)
	r.done += len(turn)
}
