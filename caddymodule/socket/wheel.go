package socket

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Wheel pings connections, and drops those that are silent, from one goroutine: timers for each would cost more memory than
// the rest of an idle connection's state. Connections come round at their own interval, give or take a tick.
type Wheel struct {
	tick time.Duration
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	slots []*Conn // first of each slot's list, linked through Conn.prev and next
	hand  int
	// turned is when the hand moved last, and spare until when nobody is dropped, see now.
	turned, spare int64
}

// wheelSlots times the tick is the longest interval that needs no second round.
const wheelSlots = 512

// NewWheel starts a wheel that looks for due connections once a tick. Stop ends its goroutine.
func NewWheel(tick time.Duration) *Wheel {
	w := &Wheel{
		tick:  tick,
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
		slots: make([]*Conn, wheelSlots),
	}
	go w.run()
	return w
}

// Stop ends the wheel; it returns when its goroutine has ended.
func (w *Wheel) Stop() {
	close(w.stop)
	<-w.done
}

// Add has c pinged from now on, and dropped when it falls silent. The first ping comes after half to all of its interval:
// connections that came together do not stay together.
func (w *Wheel) Add(c *Conn) {
	limits := c.handler.Limits()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.insert(c, limits, limits.Ping/2+rand.N(limits.Ping/2+1), now())
}

// Remove ends the pings. Removing a connection that is not on the wheel does nothing.
func (w *Wheel) Remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.slot >= 0 {
		w.unlink(c)
	}
}

// insert has c pinged after a while.
func (w *Wheel) insert(c *Conn, limits Limits, in time.Duration, now int64) {
	c.ping = now + in.Milliseconds()
	w.put(c, limits, now)
}

// put gives c the slot of its next ping, or of the moment at which it will have been silent for too long.
func (w *Wheel) put(c *Conn, limits Limits, now int64) {
	c.due = min(c.ping, c.heard.Load()+limits.Silence.Milliseconds())
	c.slot = (w.hand + max(1, int((c.due-now)/w.tick.Milliseconds()))) % wheelSlots
	c.prev, c.next = nil, w.slots[c.slot]
	if c.next != nil {
		c.next.prev = c
	}
	w.slots[c.slot] = c
}

func (w *Wheel) unlink(c *Conn) {
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.slots[c.slot] = c.next
	}
	c.prev, c.next, c.slot = nil, nil, -1
}

func (w *Wheel) run() {
	defer close(w.done)
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
			pinged, silent := w.turn(now())
			for _, c := range pinged {
				c.asked.Store(true)
				c.Push(pingFrame)
			}
			for _, c := range silent {
				c.kill(Cause{Reason: ReasonSilent})
			}
		}
	}
}

// The wheel may turn this late. After more, the process did not get to read either, and drops nobody for a while.
const (
	maxLate  = 2 * time.Second
	lateRest = 5 * time.Second
)

// turn moves the hand on. It returns those whose ping is due, each already in the slot of its next turn, and those who were
// silent for too long.
func (w *Wheel) turn(now int64) (pinged, silent []*Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turned != 0 && now-w.turned > maxLate.Milliseconds() {
		w.spare = now + lateRest.Milliseconds()
	}
	w.turned = now
	w.hand = (w.hand + 1) % wheelSlots
	tick := w.tick.Milliseconds()
	for c := w.slots[w.hand]; c != nil; {
		next := c.next
		// Its turn is up to two ticks early, since it was added between ticks and the slot is a whole number of them; in
		// a round before that, it is due in a whole round or more.
		if c.due-now < wheelSlots/2*tick {
			limits := c.handler.Limits()
			w.unlink(c)
			switch {
			case now-c.heard.Load() >= limits.Silence.Milliseconds() && now >= w.spare:
				silent = append(silent, c)
				w.put(c, limits, now)
			case c.ping-now < 2*tick:
				w.insert(c, limits, limits.Ping, now)
				pinged = append(pinged, c)
			default:
				w.put(c, limits, now)
			}
		}
		c = next
	}
	return pinged, silent
}
