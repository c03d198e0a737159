package assignments

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// spreadRounds is the maximum number of times that a change is made.
const spreadRounds = 3

// Spread sends the changes to all pods, and returns the pods that have not confirmed them and must:
// those that serve the host, and see membership.Members.Confirming. While a pod has a later version, it makes the changes again above that version.
// settled is false if a later version remains, or if this pod could not store the changes again.
func (a *Keeper) Spread(
	ctx context.Context, host presence.HostName, records []assignment.Record, stop <-chan struct{},
) (missing []string, settled bool) {
	began := time.Now()
	for range spreadRounds {
		var held assignment.Held
		missing, held = a.spreadOnce(ctx, began, host, records, stop)
		if held == (assignment.Held{}) {
			return missing, true
		}
		if kept, err := a.book.Again(records, held.Later, held.Ended); err != nil || !kept {
			return missing, false
		}
	}
	return missing, false
}

// Publish sends records to all pods, without waiting for them. Checks find those that are lost.
func (a *Keeper) Publish(records []assignment.Record) {
	if a == nil {
		return
	}
	for _, m := range divideAssignments(records) {
		a.link.Send(a.link.Assignments(), m)
	}
}

// spreadOnce sends the records once. It returns the pods that have not confirmed them, and the
// combined reports of the others.
func (a *Keeper) spreadOnce(
	ctx context.Context, began time.Time, host presence.HostName, records []assignment.Record, stop <-chan struct{},
) (missing []string, held assignment.Held) {
	s := &spread{
		began: began, host: host, messages: divideAssignments(records),
		named: make(map[link.Peer]bool), waiting: make(map[link.Peer]map[uint64]bool), changed: work.NewSignal(),
	}
	a.mu.Lock()
	for _, m := range s.messages {
		a.lastID++
		m.ID = a.lastID
		a.spreads[m.ID] = s
	}
	a.mu.Unlock()
	wait := func(most time.Duration) {
		begin := time.Now()
		s.changed.Wait(func() time.Duration { return min(a.left(s), most-time.Since(begin)) }, ctx.Done(), stop)
	}
	a.nameConfirming(s)
	for _, m := range s.messages {
		a.link.Send(a.link.Assignments(), m)
	}
	wait(repeatAfter)
	for again := true; a.nameConfirming(s) || again; again = false {
		if !a.repeat(s) {
			break
		}
		wait(time.Hour)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range s.messages {
		delete(a.spreads, m.ID)
	}
	missing = s.gone
	for p := range s.waiting {
		missing = append(missing, p.Name())
	}
	return missing, s.held
}

// nameConfirming makes the spread wait for all pods that must confirm it, and reports whether there are
// new ones. A pod that has joined meanwhile may have compared its book with that of another pod before
// that one had the records.
func (a *Keeper) nameConfirming(s *spread) (more bool) {
	var added []link.Peer
	confirming := a.members.Confirming(s.host)
	a.mu.Lock()
	for _, p := range confirming {
		if s.named[p] {
			continue
		}
		s.named[p] = true
		added = append(added, p)
		s.waiting[p] = make(map[uint64]bool, len(s.messages))
		for _, m := range s.messages {
			s.waiting[p][m.ID] = true
		}
	}
	a.mu.Unlock()
	for _, p := range added {
		if !a.members.Alive(p) { // the pod left before it was named, and was not reported to PodDown
			a.mu.Lock()
			s.removePod(p)
			a.mu.Unlock()
		}
	}
	return len(added) > 0
}

// repeat sends the records to the pods that have not confirmed them, and reports whether there are
// any. They may not have known this pod.
func (a *Keeper) repeat(s *spread) bool {
	a.mu.Lock()
	defer a.unlock()
	for p, ids := range s.waiting {
		for _, m := range s.messages {
			if ids[m.ID] {
				a.send(p, m)
			}
		}
	}
	return len(s.waiting) > 0
}

// left returns the time until the last deadline of the pods that have not confirmed; 0 if all have.
func (a *Keeper) left(s *spread) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left time.Duration
	for p := range s.waiting {
		left = max(left, a.members.Deadline(p)-time.Since(s.began))
	}
	return left
}

// spread has the changes on their way to other pods. The lock of assignments guards it.
type spread struct {
	began    time.Time
	host     presence.HostName
	messages []*message.Assignments
	named    map[link.Peer]bool            // pods that must confirm the changes
	waiting  map[link.Peer]map[uint64]bool // unconfirmed messages
	gone     []string                      // pods that left before they confirmed
	held     assignment.Held               // combined reports of the pods that have confirmed
	changed  work.Signal                   // fewer messages are unconfirmed
}

// confirm handles the confirmation of a pod. One that is not waited for may have a later version.
func (s *spread) confirm(from link.Peer, m *message.AssignmentsTaken) {
	if m.Held.Later.Compare(s.held.Later) > 0 {
		s.held.Later = m.Held.Later
	}
	s.held.Ended = s.held.Ended || m.Held.Ended
	if s.waiting[from] == nil {
		return
	}
	if delete(s.waiting[from], m.ID); len(s.waiting[from]) == 0 {
		delete(s.waiting, from)
		s.changed.Wake()
	}
}

// removePod stops waiting for a pod that has left.
func (s *spread) removePod(p link.Peer) {
	if s.waiting[p] != nil {
		delete(s.waiting, p)
		s.gone = append(s.gone, p.Name())
		s.changed.Wake()
	}
}
