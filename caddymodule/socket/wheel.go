package socket

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Wheel pings connections and drops silent ones, from one goroutine: timers for each connection
// would cost more memory than the rest of its idle state. Each connection has its own ping
// interval, kept to within two ticks.
type Wheel struct {
	tick time.Duration
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	slots []*Conn // first connection of each slot's list, linked through Conn.prev and next
	hand  int
	// lastTurn is when the hand last moved; until spareUntil, no silent connection is dropped. See
	// now.
	lastTurn, spareUntil int64
	// wallAhead is the lead of the wall clock over now in milliseconds, at the last comparison of
	// expiries.
	wallAhead int64
}

// wheelSlots times the tick is the longest interval that fits into one round.
const wheelSlots = 512

// NewWheel starts a wheel that moves once a tick. Stop ends its goroutine.
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

// Stop stops the wheel. It returns when its goroutine has ended.
func (w *Wheel) Stop() {
	close(w.stop)
	<-w.done
}

// Add pings c from now on, and drops it when it falls silent. The first ping comes after half of
// its interval to all of it, at random, so that connections that came together do not stay
// together.
func (w *Wheel) Add(c *Conn) {
	limits := c.handler.Limits()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.insert(c, limits, limits.Ping/2+rand.N(limits.Ping/2+1), now())
}

// Expire closes c when its login ends at t, by the wall clock or by the monotonic clock, whichever
// is first. It replaces the previous end. A zero t means no end.
func (w *Wheel) Expire(c *Conn, t time.Time) {
	w.expire(c, t, now(), time.Now().UnixMilli())
}

func (w *Wheel) expire(c *Conn, t time.Time, now, wall int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.expires, c.wallExpiry = 0, 0
	if !t.IsZero() {
		c.wallExpiry = t.UnixMilli()
		c.expires = now + c.wallExpiry - wall
	}
	if c.slot >= 0 {
		w.unlink(c)
		w.put(c, c.handler.Limits(), now)
	}
}

// Remove ends the pings. Removing a connection that is not on the wheel does nothing.
func (w *Wheel) Remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.slot >= 0 {
		w.unlink(c)
	}
}

// insert schedules the next ping of c.
func (w *Wheel) insert(c *Conn, limits Limits, in time.Duration, now int64) {
	c.ping = now + in.Milliseconds()
	w.put(c, limits, now)
}

// put gives c the slot of its next ping, of the end of its login, or of the end of its allowed
// silence, whichever is first.
func (w *Wheel) put(c *Conn, limits Limits, now int64) {
	due := min(c.ping, c.lastSign.Load()+limits.Silence.Milliseconds())
	if c.wallExpiry != 0 {
		due = min(due, c.expires)
	}
	c.slot = int16((w.hand + max(1, int((due-now)/w.tick.Milliseconds()))) % wheelSlots)
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
			pinged, silent, expired := w.turn(now(), time.Now().UnixMilli())
			for _, c := range pinged {
				c.pingSent.Store(true)
				c.Push(pingFrame)
			}
			for _, c := range silent {
				c.endSilent()
			}
			for _, c := range expired {
				c.Close(CloseTokenExpired, "token expired", Cause{Reason: ReasonToken})
			}
		}
	}
}

// If the wheel is later than maxLate, the process could not read either. So it drops no connection
// for lateRest.
const (
	maxLate  = 2 * time.Second
	lateRest = 5 * time.Second
)

// maxStep is how far the wall clock may advance on now before expiries are compared with it.
const maxStep = time.Second

// turn moves the hand; wall is the Unix time in milliseconds. It returns the connections to ping,
// each already in its next slot, the connections that were silent for too long, and those with a
// login that has ended.
func (w *Wheel) turn(now, wall int64) (pinged, silent, expired []*Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := w.lastTurn != 0 && now-w.lastTurn > maxLate.Milliseconds()
	if late {
		w.spareUntil = now + lateRest.Milliseconds()
	}
	// The machine slept, which does not advance now, or the wall clock was set.
	if stepped := wall-now > w.wallAhead+maxStep.Milliseconds(); stepped || late {
		w.wallAhead = wall - now
		w.compareExpiries(now, wall)
	}
	w.wallAhead = min(w.wallAhead, wall-now) // the next step counts from here
	w.lastTurn = now
	w.hand = (w.hand + 1) % wheelSlots
	tick := w.tick.Milliseconds()
	for c := w.slots[w.hand]; c != nil; {
		next := c.next
		// Its turn is early by up to two ticks, because it was added between ticks and its slot is
		// rounded down, or by whole rounds.
		limits := c.handler.Limits()
		w.unlink(c)
		switch {
		case c.wallExpiry != 0 && now >= c.expires:
			expired = append(expired, c)
			c.wallExpiry = 0
			w.put(c, limits, now)
		case now-c.lastSign.Load() >= limits.Silence.Milliseconds() && now >= w.spareUntil:
			silent = append(silent, c)
			w.put(c, limits, now)
		case c.ping-now < 2*tick:
			w.insert(c, limits, limits.Ping, now)
			pinged = append(pinged, c)
		default:
			w.put(c, limits, now)
		}
		c = next
	}
	return pinged, silent, expired
}

// compareExpiries moves the end of each login to the time at which the wall clock reaches it, if
// that is earlier than planned. It visits every connection.
func (w *Wheel) compareExpiries(now, wall int64) {
	for _, c := range w.slots {
		for c != nil {
			next := c.next
			if c.wallExpiry != 0 {
				c.expires = min(c.expires, now+c.wallExpiry-wall)
				w.unlink(c)
				w.put(c, c.handler.Limits(), now)
			}
			c = next
		}
	}
}
