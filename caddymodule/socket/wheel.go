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
	// ahead is the wall clock less now, in milliseconds, when expiries were compared with it.
	ahead int64
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

// Expire closes c when its login ends at t, by the wall clock or by a clock that nobody sets, whichever is first. A zero t is
// no end. It replaces the end that was set before.
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

// insert has c pinged after a while.
func (w *Wheel) insert(c *Conn, limits Limits, in time.Duration, now int64) {
	c.ping = now + in.Milliseconds()
	w.put(c, limits, now)
}

// put gives c the slot of its next ping, of the end of its login, or of the moment at which it will have been silent for too
// long.
func (w *Wheel) put(c *Conn, limits Limits, now int64) {
	due := min(c.ping, c.heard.Load()+limits.Silence.Milliseconds())
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
				c.asked.Store(true)
				c.Push(pingFrame)
			}
			for _, c := range silent {
				c.kill(Cause{Reason: ReasonSilent})
			}
			for _, c := range expired {
				c.Close(CloseTokenExpired, "token expired", Cause{Reason: ReasonToken})
			}
		}
	}
}

// The wheel may turn this late. After more, the process did not get to read either, and drops nobody for a while.
const (
	maxLate  = 2 * time.Second
	lateRest = 5 * time.Second
)

// maxStep is how far the wall clock may get ahead until expiries are compared with it.
const maxStep = time.Second

// turn moves the hand on; wall is the Unix time in milliseconds. It returns those whose ping is due, each already in the slot
// of its next turn, those who were silent for too long, and those whose login has ended.
func (w *Wheel) turn(now, wall int64) (pinged, silent, expired []*Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := w.turned != 0 && now-w.turned > maxLate.Milliseconds()
	if late {
		w.spare = now + lateRest.Milliseconds()
	}
	// The machine slept, and now did not go on meanwhile, or the clock was set.
	if stepped := wall-now > w.ahead+maxStep.Milliseconds(); stepped || late {
		w.ahead = wall - now
		w.compareExpiries(now, wall)
	}
	w.ahead = min(w.ahead, wall-now) // the next step counts from here
	w.turned = now
	w.hand = (w.hand + 1) % wheelSlots
	tick := w.tick.Milliseconds()
	for c := w.slots[w.hand]; c != nil; {
		next := c.next
		// Its turn is up to two ticks early, since it was added between ticks and the slot is a whole number of them, or
		// whole rounds.
		limits := c.handler.Limits()
		w.unlink(c)
		switch {
		case c.wallExpiry != 0 && now >= c.expires:
			expired = append(expired, c)
			c.wallExpiry = 0
			w.put(c, limits, now)
		case now-c.heard.Load() >= limits.Silence.Milliseconds() && now >= w.spare:
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

// compareExpiries brings logins that have ended by the wall clock to an end, and gives each the slot of its end from now. It
// looks at every connection.
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
