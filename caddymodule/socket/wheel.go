package socket

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Wheel pings connections from one goroutine: a timer for each would cost more memory than the rest of an idle
// connection's state. Connections come round at their own interval, give or take a tick.
type Wheel struct {
	tick time.Duration
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	slots []*Conn // first of each slot's list, linked through Conn.prev and next
	hand  int
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

// Add has c pinged from now on. The first ping comes after half to all of its interval: connections that came together
// do not stay together.
func (w *Wheel) Add(c *Conn) {
	interval := c.handler.Limits().Ping
	w.mu.Lock()
	defer w.mu.Unlock()
	w.insert(c, interval/2+rand.N(interval/2+1), time.Now())
}

// Remove ends the pings. Removing a connection that is not on the wheel does nothing.
func (w *Wheel) Remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.slot >= 0 {
		w.unlink(c)
	}
}

func (w *Wheel) insert(c *Conn, in time.Duration, now time.Time) {
	c.due = now.Add(in)
	c.slot = (w.hand + max(1, int(in/w.tick))) % wheelSlots
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
		case now := <-ticker.C:
			for _, c := range w.turn(now) {
				c.asked.Store(true)
				c.Push(pingFrame)
			}
		}
	}
}

// turn moves the hand on and returns those who are due, each already in the slot of its next turn.
func (w *Wheel) turn(now time.Time) []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hand = (w.hand + 1) % wheelSlots
	var due []*Conn
	for c := w.slots[w.hand]; c != nil; {
		next := c.next
		// Its turn is up to two ticks early, since it was added between ticks and the slot is a whole number of them; in
		// a round before that, it is due in a whole round or more.
		if c.due.Sub(now) < wheelSlots/2*w.tick {
			w.unlink(c)
			w.insert(c, c.handler.Limits().Ping, now)
			due = append(due, c)
		}
		c = next
	}
	return due
}
