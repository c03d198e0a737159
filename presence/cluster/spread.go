package cluster

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// spread sends the changes to all pods, and returns the pods that have not confirmed them.
func (a *assignments) spread(ctx context.Context, records []assignment.Record, stop <-chan struct{}) []string {
	messages := divideAssignments(records)
	named := a.members.everybody()
	s := &spread{began: time.Now(), waiting: make(map[peer]map[uint64]bool), changed: make(chan struct{}, 1)}
	a.mu.Lock()
	for _, m := range messages {
		a.lastID++
		m.ID = a.lastID
		a.spreads[m.ID] = s
		for _, p := range named {
			s.expect(p, m.ID)
		}
	}
	a.mu.Unlock()
	for _, p := range named {
		if !a.members.alive(p) { // the pod left before the registration, and was not reported to down
			a.mu.Lock()
			s.removePod(p)
			a.mu.Unlock()
		}
	}
	for _, m := range messages {
		a.link.send(a.link.assigned(), m)
	}
	a.wait(ctx, s, stop)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range messages {
		delete(a.spreads, m.ID)
	}
	missing := s.gone
	for p := range s.waiting {
		missing = append(missing, p.name())
	}
	return missing
}

// wait returns when all pods have confirmed, or when the time is over.
func (a *assignments) wait(ctx context.Context, s *spread, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := a.left(s)
		if left <= 0 {
			return
		}
		timer.Reset(left)
		select {
		case <-ctx.Done():
			return
		case <-stop:
			return
		case <-timer.C:
		case <-s.changed:
		}
	}
}

func (a *assignments) left(s *spread) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left time.Duration
	for p := range s.waiting {
		deadline := a.timing.timeout
		if a.members.remote(p) {
			deadline = a.timing.remote
		}
		left = max(left, deadline-time.Since(s.began))
	}
	return left
}

// spread has the changes on their way to other pods. The lock of assignments guards it.
type spread struct {
	began   time.Time
	waiting map[peer]map[uint64]bool // unconfirmed messages
	gone    []string                 // pods that left before they confirmed
	changed chan struct{}            // wakes wait when fewer messages are unconfirmed; capacity 1
}

func (s *spread) expect(p peer, id uint64) {
	if s.waiting[p] == nil {
		s.waiting[p] = make(map[uint64]bool, 1)
	}
	s.waiting[p][id] = true
}

func (s *spread) confirm(from peer, id uint64) {
	if s.waiting[from] == nil {
		return
	}
	if delete(s.waiting[from], id); len(s.waiting[from]) == 0 {
		delete(s.waiting, from)
		s.wakeUp()
	}
}

// removePod stops waiting for a pod that has left.
func (s *spread) removePod(p peer) {
	if s.waiting[p] != nil {
		delete(s.waiting, p)
		s.gone = append(s.gone, p.name())
		s.wakeUp()
	}
}

func (s *spread) wakeUp() {
	select {
	case s.changed <- struct{}{}:
	default: // a wake-up is already pending
	}
}
