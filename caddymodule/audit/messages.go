package audit

import (
	"maps"
	"sync"
	"time"
)

// MessageCounts counts messages that a watcher should have received, by what became of them.
type MessageCounts struct {
	Delivered  uint64 `json:"delivered"`
	Late       uint64 `json:"late"`       // after more than a second; they are delivered too
	Lost       uint64 `json:"lost"`       // accepted, and not received within ten seconds
	Duplicates uint64 `json:"duplicates"` // received again
	Reordered  uint64 `json:"reordered"`  // received after a later one of the same connection
}

// stream is what a watcher receives from one connection in one channel.
type stream struct {
	watcher int
	channel string
	sender  string // ID of the connection
}

// flight is a message on its way to a watcher.
type flight struct {
	sent       time.Time
	isAccepted bool // the pod has confirmed it
	isReceived bool
}

// messages is the ledger of messages. It is safe for concurrent use.
type messages struct {
	mu sync.Mutex
	// listening has the watchers that listen to a channel.
	listening map[seen]bool // keys with user ""
	flights   map[stream]map[uint64]*flight
	last      map[stream]uint64 // highest number received
	counts    []MessageCounts   // by watcher
}

func newMessages(watchers int) *messages {
	return &messages{
		listening: make(map[seen]bool), flights: make(map[stream]map[uint64]*flight), last: make(map[stream]uint64),
		counts: make([]MessageCounts, watchers),
	}
}

// listen records that a watcher listens to a channel.
func (l *messages) listen(watcher int, channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listening[seen{watcher: watcher, channel: channel}] = true
}

// deaf records that a watcher has lost its connection. Nothing is expected of it.
func (l *messages) deaf(watcher int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.listening, func(k seen, _ bool) bool { return k.watcher == watcher })
	maps.DeleteFunc(l.flights, func(k stream, _ map[uint64]*flight) bool { return k.watcher == watcher })
}

// send records that a connection is about to send message number n. Numbers begin at 1 and grow.
func (l *messages) send(now time.Time, channel, sender string, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.counts {
		if !l.listening[seen{watcher: w, channel: channel}] {
			continue
		}
		k := stream{w, channel, sender}
		if l.flights[k] == nil {
			l.flights[k] = make(map[uint64]*flight)
		}
		l.flights[k][n] = &flight{sent: now}
	}
}

// accepted records that the pod has confirmed the message; otherwise it refused it, or nobody
// knows.
func (l *messages) accepted(channel, sender string, n uint64, isAccepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.counts {
		k := stream{w, channel, sender}
		m := l.flights[k][n]
		switch {
		case m == nil:
		case isAccepted:
			m.isAccepted = true
		case !m.isReceived:
			delete(l.flights[k], n)
		}
	}
}

// receive records that a watcher has received a message.
func (l *messages) receive(now time.Time, k stream, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counts[k.watcher]
	m := l.flights[k][n]
	if m != nil && m.isReceived {
		c.Duplicates++
		return
	}
	if n < l.last[k] {
		c.Reordered++
	} else if n == l.last[k] {
		c.Duplicates++
		return
	}
	l.last[k] = max(l.last[k], n)
	if m == nil {
		return // sent before the watcher listened, or refused
	}
	m.isReceived = true
	c.Delivered++
	if now.Sub(m.sent) > late {
		c.Late++
	}
}

// expire counts what was lost, and forgets what is old. It returns how much is still expected.
func (l *messages) expire(now time.Time) (open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, flights := range l.flights {
		for n, m := range flights {
			isOld := now.Sub(m.sent) > lost
			switch {
			case !m.isReceived && isOld && m.isAccepted:
				l.counts[k.watcher].Lost++
				delete(flights, n)
			case isOld && now.Sub(m.sent) > remembered:
				delete(flights, n)
			case !m.isReceived && m.isAccepted:
				open++
			}
		}
		if len(flights) == 0 {
			delete(l.flights, k)
		}
	}
	// The other connections send no more, or their last messages are long ago.
	maps.DeleteFunc(l.last, func(k stream, _ uint64) bool { return l.flights[k] == nil })
	return open
}
