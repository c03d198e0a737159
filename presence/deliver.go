package presence

import (
	"slices"
	"sync"
)

const (
	// batchSize is how many bytes of frames are joined in one batch at most. A larger frame is a
	// batch by itself.
	batchSize = 32 << 10
	// roundStep is how many listeners get a batch in one go, with the host's lock held: about a
	// tenth of a millisecond.
	roundStep = 1024
)

// outgoing is what a channel has to deliver. It is there only while a goroutine delivers, see
// [Host.deliver]; the host's lock guards it. Frames are joined here, once for all listeners: a
// connection then has one write for many messages.
type outgoing struct {
	batches []batch
	bytes   int
}

// batch is whole frames, one after the other.
type batch struct {
	frames []byte
	n      int
}

func (o *outgoing) add(frame []byte) {
	o.bytes += len(frame)
	if i := len(o.batches) - 1; i >= 0 && len(o.batches[i].frames)+len(frame) <= batchSize {
		p := &o.batches[i]
		if p.n == 1 {
			p.frames = slices.Clip(p.frames) // what is behind it is the encoder's
		}
		p.frames = append(p.frames, frame...)
		p.n++
		return
	}
	o.batches = append(o.batches, batch{frame, 1})
}

// send has a message delivered to those who listen when its turn comes.
func (h *Host) enqueue(ch *channel, from Source, message []byte) {
	frame := h.registry.encoder.Message(ch.name, from, message)
	h.pending += len(frame)
	if ch.outgoing != nil {
		ch.outgoing.add(frame)
		return
	}
	ch.outgoing = &outgoing{}
	ch.outgoing.add(frame)
	go h.deliver(ch) // ends when nothing is left
}

// unsend drops what a channel that is no longer active has to deliver: nobody is there to get
// it.
func (h *Host) dropOutgoing(ch *channel) {
	if ch.outgoing != nil {
		h.pending -= ch.outgoing.bytes
		ch.outgoing = nil
	}
}

// round is the delivery of one batch to those who listened when it began.
type round struct {
	batch     batch
	listeners []*membership
	done      int      // how many of the listeners had their turn
	unflushed []Outbox // to be flushed
}

var rounds = sync.Pool{New: func() any { return new(round) }}

// maxRound is how many listeners a round has room for at most that goes back to the pool.
const maxRound = 16 << 10

// deliver delivers in rounds until nothing is left. It is the only one for the channel, so messages
// come in their order. What is sent during a round waits for the next one: the longer a round
// takes, the more is written at once.
//
// Outboxes take their batches with the host's lock held, like all other frames, so that each is
// before or after a presence frame for good, and nobody gets a message after leaving. They are
// flushed without any lock.
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

// next begins a round if there is something to deliver.
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

// queue gives the batch to the next listeners, except for those that left since the round began.
func (h *Host) queueRound(ch *channel, r *round) {
	h.mu.Lock()
	defer h.mu.Unlock()
	turn := r.listeners[r.done:min(r.done+roundStep, len(r.listeners))]
	for _, m := range turn {
		if m.index >= len(ch.listeners) || ch.listeners[m.index] != m {
			continue
		}
		if m.conn.out.Queue(r.batch.frames, r.batch.n) {
			r.unflushed = append(r.unflushed, m.conn.out)
		}
	}
	clear(turn)
	r.done += len(turn)
}
