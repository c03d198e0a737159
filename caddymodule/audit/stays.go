package audit

import (
	"slices"
	"sync"
	"time"
)

const (
	// settle is how long a pod may take to notice that a connection has ended.
	settle = time.Second
	// silence is how long a pod may take to notice the end of a connection whose packets are lost:
	// the default interval and grace of its pings, and some seconds.
	silence = 45 * time.Second
	// remembered is how long a ledger keeps what has ended. No answer takes as long.
	remembered = time.Minute
)

// stay is the time for which a connection is open, or for which it listens to a channel. Zero times
// are in the future. The mutex of the ledger guards all fields.
type stay struct {
	ledger *stays
	pod    int // index of the pod
	user   string
	within *stay // connection of a stay in a channel; nil for a connection

	// It began between came and here, and ended between going and gone.
	came, here, going, gone time.Time
	// alive is when the connection was last known to be open: when a ping was sent that has been
	// answered. Unused in a channel.
	alive time.Time
}

// stays is the ledger of who was connected where and when. It is safe for concurrent use.
type stays struct {
	mu sync.Mutex
	// by has the stays in each channel, and those of connections under "".
	by map[string][]*stay
}

// begin records that a user is about to connect, or to join a channel.
func (l *stays) begin(now time.Time, channel string, pod int, user string, within *stay) *stay {
	s := &stay{ledger: l, pod: pod, user: user, within: within, came: now}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = make(map[string][]*stay)
	}
	old := now.Add(-remembered)
	list := slices.DeleteFunc(l.by[channel], func(s *stay) bool { return !s.gone.IsZero() && s.gone.Before(old) })
	l.by[channel] = append(list, s)
	return s
}

// arrived records that the server has confirmed it.
func (s *stay) arrived(now time.Time) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.here, s.alive = now, now
}

// lives records that the connection was open at a time.
func (s *stay) lives(at time.Time) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.alive = at
}

// leaving records that the client is about to end it.
func (s *stay) leaving(now time.Time) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.going.IsZero() {
		s.going = now
	}
}

// left records that it has ended, and that the pod knows it within a time.
func (s *stay) left(now time.Time, within time.Duration) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.going.IsZero() {
		s.going = now
	}
	if s.gone.IsZero() {
		s.gone = now.Add(within)
	}
}

// isSure reports whether it lasted for a whole period. For a connection that has not ended by the
// client, only a later sign of life shows it.
func (s *stay) isSure(from, to time.Time) bool {
	if s.here.IsZero() || s.here.After(from) || (!s.going.IsZero() && s.going.Before(to)) {
		return false
	}
	if s.within != nil {
		return s.within.isSure(from, to)
	}
	return !s.alive.Before(to)
}

// isPossible reports whether it can have existed at some moment of a period.
func (s *stay) isPossible(from, to time.Time) bool {
	return !s.came.After(to) && (s.gone.IsZero() || !s.gone.Before(from)) &&
		(s.within == nil || s.within.isPossible(from, to))
}
