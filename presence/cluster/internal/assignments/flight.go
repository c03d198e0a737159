package assignments

import (
	"context"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// maxDelay is how long changes wait at most to travel with others. They do not wait at all
	// unless the flight before theirs is under way.
	maxDelay = 2 * time.Millisecond
	// gather is how long later versions are awaited after the first report of one. Pods can have
	// different ones, and making a change again above each would take many flights.
	gather = 10 * time.Millisecond
	// maxShared is the number of records from which on a flight takes no more. So a small change
	// does not wait for many large ones.
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
	changed  work.Signal                   // fewer messages are unconfirmed, or the flight is split
	reported chan struct{}                 // closed when held is set
	over     chan struct{}                 // closed when all have confirmed, have had their time, or the flight is split
}

func newFlight(began time.Time, host presence.HostName, records []assignment.Record) *flight {
	return &flight{
		began: began, host: host, records: slices.Clone(records), changes: 1,
		changed: work.NewSignal(), reported: make(chan struct{}), over: make(chan struct{}),
		named: make(map[link.Peer]bool), waiting: make(map[link.Peer]map[uint64]bool),
	}
}

// shared reports whether the flight has several changes. It must have left.
func (f *flight) shared() bool { return f.changes > 1 }

// split reports whether the changes must travel again, each alone: of a report about several,
// nobody knows which one it is about. Such a flight ends at once, because what it waits for would
// take the time of the flights that follow.
func (f *flight) split() bool { return f.shared() && (f.held != assignment.Held{} || f.refused) }

// enqueue makes the records travel with the next flight of the host, and returns it. It returns nil
// if Run has ended.
func (a *Keeper) enqueue(host presence.HostName, records []assignment.Record, stop <-chan struct{}) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	before := a.last[host]
	if before != nil && before.records != nil && len(before.records) < maxShared {
		before.records = append(before.records, records...)
		before.changes++
		return before
	}
	f := newFlight(time.Now(), host, records)
	a.last[host] = f
	a.sending.Go(func() { a.deliver(f, before, stop) })
	return f
}

// startAlone makes the records travel at once and alone. It returns nil if Run has ended.
func (a *Keeper) startAlone(began time.Time, host presence.HostName, records []assignment.Record, stop <-chan struct{}) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	f := newFlight(began, host, records)
	a.sending.Go(func() { a.deliver(f, nil, stop) })
	return f
}

// deliver waits for the flight before, sends the records, and repeats them to pods that do not
// confirm.
func (a *Keeper) deliver(f, before *flight, stop <-chan struct{}) {
	if before != nil {
		late := time.NewTimer(maxDelay)
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
	a.publish(f)
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

// publish sends the records to all pods, and once more to those that must confirm them and do not
// serve the host: these take no notice of what is for all.
func (a *Keeper) publish(f *flight) {
	serving := a.members.Serving(f.host, membership.ScopeAll, true)
	for _, m := range f.messages {
		a.link.Send(a.link.Assignments(), m)
	}
	a.mu.Lock()
	defer a.unlock()
	for p := range f.named {
		if slices.Contains(serving, p) {
			continue
		}
		for _, m := range f.messages {
			a.send(p, m)
		}
	}
}

// result is what is known of a flight.
type result struct {
	over    bool     // false if the caller or the cluster ended first
	missing []string // pods that have not confirmed the changes
	held    assignment.Held
	split   bool
}

// await waits for the end of the flight, or until reported was closed a moment ago.
func (a *Keeper) await(ctx context.Context, f *flight, reported, stop <-chan struct{}) (r result) {
	r.over = true
	var gathered <-chan time.Time // nil before the first report
	for waits := true; waits; {
		waits = false
		select {
		case <-f.over:
		case <-reported:
			reported, gathered, waits = nil, time.After(gather), true
		case <-gathered:
		case <-ctx.Done():
			r.over = false
		case <-stop:
			r.over = false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r.held, r.split = f.held, f.split()
	r.missing = slices.Clone(f.gone)
	for p := range f.waiting {
		r.missing = append(r.missing, p.Name())
	}
	return r
}

// nameConfirming makes the flight wait for all pods that must confirm it, and reports whether there
// are new ones. A pod that has joined meanwhile may have compared its book with that of another pod
// before that one had the records.
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
	if f.split() {
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
	if f.split() {
		return 0
	}
	for p := range f.waiting {
		left = max(left, a.members.Deadline(p)-time.Since(f.began))
	}
	return left
}

// confirm handles the confirmation of a pod. One that is not waited for may have a later version.
func (f *flight) confirm(from link.Peer, m *message.AssignmentsTaken) {
	if f.held == (assignment.Held{}) && m.Held != (assignment.Held{}) {
		close(f.reported)
		f.changed.Wake() // the flight may be split
	}
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
