// Package assignments keeps the book of assignments equal on all pods.
//
// A [Keeper] sends changes to all pods and waits for their confirmations (spread.go). It compares the
// book with those of other pods every few seconds (keeper.go). It has subjects of its own, because
// handling their messages waits for the disk, and the inbox must not wait.
//
// Keeper.mu guards the check in progress and the changes that wait for confirmations. It is held while
// a check is sent, but not while records are read or stored.
package assignments

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// checkTimeout is how long a pod may take for the next message of its answer to a check.
	checkTimeout = 2 * time.Second
	// checkPause is the minimum time between checks because of a difference. It doubles each time
	// that an answer of the pod changes nothing, up to maxVain times: a difference can last, if a
	// host is full on one pod and not on another.
	checkPause = time.Second
	maxVain    = 6
	// A book that has changed within settled differs from others while its records are on their
	// way. This is not a reason to check, unless the last check was unsettled ago.
	settled   = 500 * time.Millisecond
	unsettled = 15 * time.Second
	// maxAnswer limits the answer to a check, in bytes. The pod that sent the check continues with
	// another one.
	maxAnswer = 16 << 20
)

// Keeper keeps the book of this pod equal to those of other pods.
//
// A change is sent to all pods, and each confirms it when it has stored it. Records that are lost,
// or that a pod was not there for, are found by comparison: every few seconds each pod sends one
// sum of all its records. A pod with another sum requests the parts that differ, from one pod at a
// time. It does not matter which pod requests, in which order records arrive, and how often: of two
// records the later one applies everywhere.
type Keeper struct {
	link    *link.Link
	members *membership.Members
	book    *assignment.Book
	timing  timing.Timing

	// mu guards the fields below.
	mu      sync.Mutex
	lastID  uint64
	spreads map[uint64]*spread
	check   assignmentCheck
	vain    map[link.Peer]vain // pods that differ, although their last answers changed nothing
}

// vain counts consecutive answers of a pod that changed nothing.
type vain struct {
	times int
	last  time.Time
}

// assignmentCheck is the check in progress, or the last one.
type assignmentCheck struct {
	id    uint64 // 0 if none is in progress
	to    link.Peer
	news  bool      // the answer has changed the book
	heard time.Time // time of the last message of the answer, or of the start
	began time.Time
}

// New returns the keeper of a book. It returns nil, on which PodUp, PodDown and RecheckAll do nothing,
// if book is nil.
func New(l *link.Link, m *membership.Members, book *assignment.Book, t timing.Timing) *Keeper {
	if book == nil {
		return nil
	}
	return &Keeper{
		link: l, members: m, book: book, timing: t, lastID: link.Random() >> 1,
		spreads: make(map[uint64]*spread), vain: make(map[link.Peer]vain),
	}
}

// Handle handles a message about assignments. It waits for the disk.
func (a *Keeper) Handle(from link.Peer, m message.Message) {
	switch m := m.(type) {
	case *message.Assignments:
		a.merge(from, m)
	case *message.AssignmentsTaken:
		a.finish(from, m)
	case *message.AssignmentTotal:
		if m.Total != a.book.Sums().Total() {
			a.ask(from, time.Now(), false)
			return
		}
		a.recordAgreement(from)
	case *message.AssignmentCheck:
		a.answer(from, m)
	default:
		a.link.Counts.Unknown.Add(1)
	}
}

// merge merges records of another pod.
func (a *Keeper) merge(from link.Peer, m *message.Assignments) {
	before := a.book.Sums().Total()
	// Records that cannot be stored apply nevertheless, but are not confirmed. The book stores them
	// later.
	held, err := a.book.Merge(m.Records)
	a.recordAnswer(from, m.ID == 0 && a.book.Sums().Total() != before)
	if err == nil && m.ID != 0 {
		a.link.Send(a.link.AssignmentsOf(from), &message.AssignmentsTaken{ID: m.ID, Held: held})
	}
}

// PodUp handles a pod that joined. Of two pods, the younger one sends a check at once.
func (a *Keeper) PodUp(p link.Peer) {
	if a != nil && link.CompareIncarnations(a.link.Self().Incarnation, p.Incarnation) > 0 {
		a.ask(p, time.Now(), true)
	}
}

// RecheckAll handles that this pod may have missed records. Every pod has the same ones, so it checks
// any, but not the last one again.
func (a *Keeper) RecheckAll() {
	if a == nil {
		return
	}
	others := a.members.All() // in random order
	if len(others) == 0 {
		return
	}
	a.mu.Lock()
	last := a.check.to
	a.mu.Unlock()
	if len(others) > 1 && others[0] == last {
		others = others[1:]
	}
	a.ask(others[0], time.Now(), true)
}

// PodDown handles a pod that left.
func (a *Keeper) PodDown(p link.Peer) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.vain, p)
	if a.check.to == p {
		a.check.id = 0
	}
	for _, s := range a.spreads {
		s.removePod(p)
	}
}

// Run announces the sum, and repeats a check without an answer, until stop is closed.
func (a *Keeper) Run(stop <-chan struct{}) {
	tick := time.NewTicker(a.timing.Check)
	defer tick.Stop()
	lost := time.NewTicker(checkTimeout)
	defer lost.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			a.announce()
		case <-lost.C:
			if a.unanswered(time.Now()) {
				a.RecheckAll()
			}
		}
	}
}

// unanswered reports whether the check in progress has had no message for checkTimeout.
func (a *Keeper) unanswered(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.check.id != 0 && now.Sub(a.check.heard) >= checkTimeout
}

func (a *Keeper) announce() {
	a.link.Send(a.link.Assignments(), &message.AssignmentTotal{Total: a.book.Sums().Total()})
}

// ask sends the pod a check, unless one is in progress or the last one was too recent. With atOnce,
// none is too recent.
func (a *Keeper) ask(p link.Peer, now time.Time, atOnce bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.check.id != 0 && now.Sub(a.check.heard) < checkTimeout {
		return
	}
	since, before := now.Sub(a.check.began), a.vain[p]
	if !atOnce && (since < checkPause || since < unsettled && now.Sub(a.book.Touched()) < settled ||
		now.Sub(before.last) < checkPause<<before.times) {
		return
	}
	a.lastID++
	a.check = assignmentCheck{id: a.lastID, to: p, heard: now, began: now}
	a.link.Send(a.link.AssignmentsOf(p), &message.AssignmentCheck{ID: a.lastID, Sums: *a.book.Sums()})
}

// recordAnswer records a message of an answer, and whether it changed the book.
func (a *Keeper) recordAnswer(from link.Peer, news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.check.id != 0 && a.check.to == from {
		a.check.heard = time.Now()
		a.check.news = a.check.news || news
	}
}

// recordAgreement records that the pod has the same sum.
func (a *Keeper) recordAgreement(with link.Peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.vain, with)
}

// finish handles the end of an answer, or the confirmation of a change.
func (a *Keeper) finish(from link.Peer, m *message.AssignmentsTaken) {
	id := m.ID
	a.mu.Lock()
	if s := a.spreads[id]; s != nil {
		s.confirm(from, m)
		a.mu.Unlock()
		return
	}
	ours := a.check.id == id && a.check.to == from
	if !ours {
		a.mu.Unlock()
		a.link.Counts.Unknown.Add(1)
		return
	}
	a.check.id = 0
	news := a.check.news
	if news {
		delete(a.vain, from)
	} else {
		a.vain[from] = vain{min(a.vain[from].times+1, maxVain), time.Now()}
	}
	a.mu.Unlock()
	if news {
		a.ask(from, time.Now(), true) // until nothing changes
		return
	}
	a.announce() // the other pod may lack records of this one
}

// answer sends the parts that differ, beginning with a random one. So an answer that is too long,
// and that the other pod has no room for, is followed by one about other parts.
func (a *Keeper) answer(from link.Peer, check *message.AssignmentCheck) {
	own := a.book.Sums()
	to, sent := a.link.AssignmentsOf(from), 0
	first := rand.N(assignment.Shards) //nolint:gosec // guessing it is useless
	for n := range own {
		i := (first + n) % assignment.Shards
		if own[i] == check.Sums[i] {
			continue
		}
		if sent > maxAnswer {
			break
		}
		for _, m := range divideAssignments(a.book.Part(i)) {
			for j := range m.Records {
				sent += message.AssignmentSize(&m.Records[j])
			}
			a.link.Send(to, m)
		}
	}
	a.link.Send(to, &message.AssignmentsTaken{ID: check.ID})
}

// divideAssignments divides the records into messages.
func divideAssignments(records []assignment.Record) []*message.Assignments {
	var list []*message.Assignments
	open := make(map[presence.HostName]*message.Assignments)
	sizes := make(map[*message.Assignments]int)
	for i := range records {
		r, size := records[i], message.AssignmentSize(&records[i])
		m := open[r.Host]
		if m == nil || sizes[m]+size > message.MaxAssignments {
			m = &message.Assignments{Host: r.Host}
			open[r.Host] = m
			list = append(list, m)
		}
		m.Records = append(m.Records, r)
		sizes[m] += size
	}
	return list
}
