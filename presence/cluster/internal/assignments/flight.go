package assignments

import (
	"context"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// boarding is how long changes wait at most to travel with others. They do not wait at all unless
	// the flight before theirs is under way.
	boarding = 2 * time.Millisecond
	// maxShared is the number of records from which on a flight takes no more. So a small change does
	// not wait for many large ones.
	maxShared = 1024
)

// flight has changes on their way to other pods. Keeper.mu guards it, except for began and host.
type flight struct {
	began    time.Time
	host     presence.HostName
	records  []assignment.Record           // nil once it has left
	changes  int                           // number of changes that the records are of
	messages []*message.Assignments        // the records, once it has left
	named    map[link.Peer]bool            // pods that must confirm the changes
	waiting  map[link.Peer]map[uint64]bool // unconfirmed messages
	gone     []string                      // pods that left before they confirmed
	held     assignment.Held               // combined reports of the pods that have confirmed
	refused  bool                          // a pod had no room for some of the records
	changed  work.Signal                   // fewer messages are unconfirmed
	over     chan struct{}                 // closed when all have confirmed, or have had their time
}

func newFlight(began time.Time, host presence.HostName, records []assignment.Record) *flight {
	return &flight{
		began: began, host: host, records: slices.Clone(records), changes: 1, changed: work.NewSignal(), over: make(chan struct{}),
		named: make(map[link.Peer]bool), waiting: make(map[link.Peer]map[uint64]bool),
	}
}

// shared reports whether the flight has several changes. It must have left.
func (f *flight) shared() bool { return f.changes > 1 }

// board makes the records travel with the next flight of the host, and returns it.
func (a *Keeper) board(host presence.HostName, records []assignment.Record, stop <-chan struct{}) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.last[host]
	if before != nil && before.records != nil && len(before.records) < maxShared {
		before.records = append(before.records, records...)
		before.changes++
		return before
	}
	f := newFlight(time.Now(), host, records)
	a.last[host] = f
	go a.fly(f, before, stop)
	return f
}

// fly waits for the flight before, sends the records, and repeats them to pods that do not confirm.
func (a *Keeper) fly(f, before *flight, stop <-chan struct{}) {
	if before != nil {
		late := time.NewTimer(boarding)
		defer late.Stop()
		select {
		case <-before.over:
		case <-late.C:
		case <-stop:
		}
	}
	a.mu.Lock()
	f.messages, f.records = divideAssignments(f.records), nil
	for _, m := range f.messages {
		a.lastID++
		m.ID = a.lastID
		a.flights[m.ID] = f
	}
	a.mu.Unlock()
	a.nameConfirming(f)
	for _, m := range f.messages {
		a.link.Send(a.link.Assignments(), m)
	}
	wait := func(most time.Duration) {
		begin := time.Now()
		f.changed.Wait(func() time.Duration { return min(a.left(f), most-time.Since(begin)) }, nil, stop)
	}
	wait(repeatAfter)
	for again := true; a.nameConfirming(f) || again; again = false {
		if !a.repeat(f) {
			break
		}
		wait(time.Hour)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range f.messages {
		delete(a.flights, m.ID)
	}
	if a.last[f.host] == f {
		delete(a.last, f.host)
	}
	close(f.over)
}

// await waits for the end of the flight. It returns the pods that have not confirmed it by then. If
// the context or the cluster ends first, over is false.
func (a *Keeper) await(ctx context.Context, f *flight, stop <-chan struct{}) (missing []string, over bool) {
	select {
	case <-f.over:
		over = true
	case <-ctx.Done():
	case <-stop:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	missing = slices.Clone(f.gone)
	for p := range f.waiting {
		missing = append(missing, p.Name())
	}
	return missing, over
}

// nameConfirming makes the flight wait for all pods that must confirm it, and reports whether there are
// new ones. A pod that has joined meanwhile may have compared its book with that of another pod before
// that one had the records.
func (a *Keeper) nameConfirming(f *flight) (more bool) {
	var added []link.Peer
	confirming := a.members.Confirming(f.host)
	a.mu.Lock()
	for _, p := range confirming {
		if f.named[p] {
			continue
		}
		f.named[p] = true
		added = append(added, p)
		f.waiting[p] = make(map[uint64]bool, len(f.messages))
		for _, m := range f.messages {
			f.waiting[p][m.ID] = true
		}
	}
	a.mu.Unlock()
	for _, p := range added {
		if !a.members.Alive(p) { // the pod left before it was named, and was not reported to PodDown
			a.mu.Lock()
			f.removePod(p)
			a.mu.Unlock()
		}
	}
	return len(added) > 0
}

// repeat sends the records to the pods that have not confirmed them, and reports whether there are
// any. They may not have known this pod.
func (a *Keeper) repeat(f *flight) bool {
	a.mu.Lock()
	defer a.unlock()
	if f.refused && f.shared() {
		return false
	}
	for p, ids := range f.waiting {
		for _, m := range f.messages {
			if ids[m.ID] {
				a.send(p, m)
			}
		}
	}
	return len(f.waiting) > 0
}

// left returns the time until the last deadline of the pods that have not confirmed; 0 if all have.
func (a *Keeper) left(f *flight) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left time.Duration
	if f.refused && f.shared() { // the changes travel again alone
		return 0
	}
	for p := range f.waiting {
		left = max(left, a.members.Deadline(p)-time.Since(f.began))
	}
	return left
}

// confirm handles the confirmation of a pod. One that is not waited for may have a later version.
func (f *flight) confirm(from link.Peer, m *message.AssignmentsTaken) {
	if m.Held.Later.Compare(f.held.Later) > 0 {
		f.held.Later = m.Held.Later
	}
	f.held.Ended = f.held.Ended || m.Held.Ended
	if m.More {
		f.refused = true
		f.changed.Wake()
		return
	}
	if f.waiting[from] == nil {
		return
	}
	if delete(f.waiting[from], m.ID); len(f.waiting[from]) == 0 {
		delete(f.waiting, from)
		f.changed.Wake()
	}
}

// removePod stops waiting for a pod that has left.
func (f *flight) removePod(p link.Peer) {
	if f.waiting[p] != nil {
		delete(f.waiting, p)
		f.gone = append(f.gone, p.Name())
		f.changed.Wake()
	}
}
