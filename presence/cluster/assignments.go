package cluster

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// checkTimeout is how long a pod may take with the next message of its answer to a check.
	checkTimeout = 2 * time.Second
	// checkPause is the least time between checks that a difference leads to. For a pod that is asked in vain it doubles
	// each time, up to maxVain times: a difference can last, when a host is full on one pod and not on another.
	checkPause = time.Second
	maxVain    = 6
	// A book that was changed within settled differs from others for as long as the news is on its way, which is no reason to
	// check, unless the last check is unsettled ago.
	settled   = 500 * time.Millisecond
	unsettled = 15 * time.Second
	// maxAnswer bounds the answer to a check, in bytes. The pod that asked goes on with another check.
	maxAnswer = 16 << 20
)

// assignments keeps the book of this pod the same as those of others.
//
// A change is told to all pods, and each says when it has kept it. What gets lost on the way, or was missed by a pod that
// was not there, is found by comparing: every few seconds each pod says one number for all that it has, and who has
// another number asks it for the parts that differ, one pod at a time. It does not matter who asks whom, in which order
// records come, and how often: of two the later holds everywhere.
type assignments struct {
	link    *link
	members *members
	book    *assignment.Book
	timing  timing

	// mu guards what follows.
	mu      sync.Mutex
	lastID  uint64
	spreads map[uint64]*spread
	check   assignmentCheck
	vain    map[peer]vain // pods whose last answers brought nothing, although they differ
}

// vain is how often in a row a pod was asked in vain, and when it was last.
type vain struct {
	times int
	last  time.Time
}

// assignmentCheck is the check under way, or the last one.
type assignmentCheck struct {
	id    uint64 // 0: none is under way
	to    peer
	news  bool      // the answer brought something
	heard time.Time // when it began, or something of the answer came last
	began time.Time
}

// newAssignments returns what keeps the book, nil without one.
func newAssignments(l *link, m *members, book *assignment.Book, t timing) *assignments {
	if book == nil {
		return nil
	}
	return &assignments{
		link: l, members: m, book: book, timing: t, lastID: random() >> 1,
		spreads: make(map[uint64]*spread), vain: make(map[peer]vain),
	}
}

// take takes what others say of assignments. It waits for the disk.
func (a *assignments) take(from peer, m message.Message) {
	switch m := m.(type) {
	case *message.Assignments:
		a.merge(from, m)
	case *message.AssignmentsTaken:
		a.taken(from, m.ID)
	case *message.AssignmentTotal:
		if m.Total != a.book.Sums().Total() {
			a.ask(from, time.Now(), false)
			return
		}
		a.agree(from)
	case *message.AssignmentCheck:
		a.answer(from, m)
	default:
		a.link.unknown.Add(1)
	}
}

// merge takes over what another pod has told.
func (a *assignments) merge(from peer, m *message.Assignments) {
	before := a.book.Sums().Total()
	// What cannot be kept holds all the same, but is not confirmed. The book knows what is to be tried again.
	err := a.book.Merge(m.Records)
	a.hear(from, m.ID == 0 && a.book.Sums().Total() != before)
	if err == nil && m.ID != 0 {
		a.link.send(a.link.assignedOf(from), &message.AssignmentsTaken{ID: m.ID})
	}
}

// up is told that the pod is there. Of two pods, the younger is the one that asks at once.
func (a *assignments) up(p peer) {
	if a != nil && compareIncarnations(a.link.self.inc, p.inc) > 0 {
		a.ask(p, time.Now(), true)
	}
}

// recheck is told that this pod may have missed anything. Any other pod will do, for all have the same, but rather not the
// one that was asked last.
func (a *assignments) recheck() {
	if a == nil {
		return
	}
	others := a.members.everybody() // in any order
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

// down is told that the pod is gone.
func (a *assignments) down(p peer) {
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
		s.give(p)
	}
}

// run says what this pod has, and asks again when an answer does not come, until stop is closed.
func (a *assignments) run(stop <-chan struct{}) {
	tick := time.NewTicker(a.timing.check)
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
				a.recheck()
			}
		}
	}
}

// unanswered reports whether a check is under way whose answer does not come.
func (a *assignments) unanswered(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.check.id != 0 && now.Sub(a.check.heard) >= checkTimeout
}

func (a *assignments) announce() {
	a.link.send(a.link.assigned(), &message.AssignmentTotal{Total: a.book.Sums().Total()})
}

// ask sends the pod a check, unless one is under way or it is too early for another. At once, nothing is too early.
func (a *assignments) ask(p peer, now time.Time, atOnce bool) {
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
	a.link.send(a.link.assignedOf(p), &message.AssignmentCheck{ID: a.lastID, Sums: *a.book.Sums()})
}

// hear takes note of a part of an answer, and whether it has brought something.
func (a *assignments) hear(from peer, news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.check.id != 0 && a.check.to == from {
		a.check.heard = time.Now()
		a.check.news = a.check.news || news
	}
}

// agree takes note that the pod has the same as this one.
func (a *assignments) agree(with peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.vain, with)
}

// taken takes the end of an answer, or the confirmation of a change.
func (a *assignments) taken(from peer, id uint64) {
	a.mu.Lock()
	if s := a.spreads[id]; s != nil {
		s.take(from, id)
		a.mu.Unlock()
		return
	}
	ours := a.check.id == id && a.check.to == from
	if !ours {
		a.mu.Unlock()
		a.link.unknown.Add(1)
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
		a.ask(from, time.Now(), true) // until nothing is left
		return
	}
	a.announce() // the other pod may lack something that this one has
}

// answer sends what this pod has of the parts that differ. It begins with any of them: when an answer is too long, and the
// other pod has no room for what is in it, the next one is about others.
func (a *assignments) answer(from peer, check *message.AssignmentCheck) {
	own := a.book.Sums()
	to, sent := a.link.assignedOf(from), 0
	first := rand.N(assignment.Shards) //nolint:gosec // a guess at it is worth nothing
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
			a.link.send(to, m)
		}
	}
	a.link.send(to, &message.AssignmentsTaken{ID: check.ID})
}

// divideAssignments makes messages of the records.
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
