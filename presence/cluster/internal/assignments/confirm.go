package assignments

import (
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxPending is the number of messages that may wait to be stored. Above it, whoever brings another
// one waits for the disk.
const maxPending = 1024

// received is a message of another pod whose records are applied, and confirmed when they are
// stored.
type received struct {
	from link.Peer
	id   uint64
	held assignment.Held
	part bool // there was no room for some of its records
}

// apply applies the records of another pod. It does not wait for the disk: what arrives during a
// write shares the next one, however many pods send.
func (a *Keeper) apply(from link.Peer, m *message.Assignments) {
	held, err := a.book.Take(m.Records)
	waiting := 0
	if m.ID != 0 {
		a.mu.Lock()
		a.pending = append(a.pending, received{from, m.ID, held, err != nil})
		waiting = len(a.pending)
		a.mu.Unlock()
	}
	if waiting > maxPending {
		a.confirm()
		return
	}
	a.arrived.Wake()
}

// storeReceived stores and confirms what other pods have sent, until stop is closed.
func (a *Keeper) storeReceived(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			a.confirm()
			return
		case <-a.arrived:
			a.confirm()
		}
	}
}

// confirm stores the records of other pods, and confirms them. If they cannot be stored, their
// senders name this pod as missing; the book keeps them for its next attempt.
func (a *Keeper) confirm() {
	a.mu.Lock()
	list := a.pending
	a.pending = nil
	a.mu.Unlock()
	if a.book.Keep() != nil {
		return
	}
	for _, t := range list {
		a.link.Send(a.link.AssignmentsOf(t.from), &message.AssignmentsTaken{ID: t.id, Held: t.held, More: t.part})
	}
}
