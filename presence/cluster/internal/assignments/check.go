package assignments

import (
	"math/rand/v2"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// checkTimeout is how long a pod may take for the next message of its answer to a check.
	checkTimeout = 2 * time.Second
	// maxCheck is how long the whole answer may take.
	maxCheck = time.Minute
	// checkPause is the minimum time between checks because of a difference. It doubles each time
	// that an answer of the pod changes nothing, up to maxVain times: a difference can last, if a
	// host is full on one pod and not on another.
	checkPause = time.Second
	maxVain    = 6
	// A book that has changed within transit differs from others while its records are on their
	// way. This is not a reason to check, unless the last check was maxTransit ago.
	transit    = 500 * time.Millisecond
	maxTransit = 15 * time.Second
	// maxAnswer limits the answer to a check, in bytes. The pod that sent the check continues with
	// another one.
	maxAnswer = 16 << 20
)

// vain counts consecutive answers of a pod that changed nothing.
type vain struct {
	times int
	last  time.Time
}

// check is the check in progress, or the last one.
type check struct {
	id    uint64 // 0 if none is in progress
	scope uint64
	to    link.Peer
	news  bool                      // the answer has changed the book
	parts uint64                    // messages of the answer that have arrived
	end   *message.AssignmentsTaken // nil until it has arrived
	heard time.Time                 // time of the last message of the answer, or of the start
	began time.Time
}

// ask sends the pod a check, unless one is in progress or the last one was too recent. With atOnce,
// none is too recent.
func (a *Keeper) ask(p link.Peer, now time.Time, atOnce bool) {
	a.mu.Lock()
	defer a.unlock()
	if a.check.id != 0 {
		return
	}
	since, before := now.Sub(a.check.began), a.vain[p]
	if !atOnce && (since < checkPause || since < maxTransit && now.Sub(a.book.Touched()) < transit ||
		now.Sub(before.last) < checkPause<<before.times) {
		return
	}
	a.sendCheck(p, now)
}

// sendCheck sends a check, if the sites of the pod are known. a.mu is held.
func (a *Keeper) sendCheck(p link.Peer, now time.Time) {
	shared, ok := a.members.Shared(p)
	if !ok {
		return
	}
	selected, scope := a.book.Select(shared.Serves)
	if scope != shared.Own {
		return
	}
	a.lastID++
	a.check = check{id: a.lastID, scope: shared.Scope, to: p, heard: now, began: now}
	m := &message.AssignmentCheck{ID: a.lastID, Scope: shared.Scope, Sums: *a.book.Sums(selected)}
	if s := a.pods[p]; s != nil {
		m.Outside = s.outside
	}
	a.send(p, m)
	a.due.Wake() // for its timeout
}

// askAnother sends a check to a random pod, if possible not to that of the last check.
func (a *Keeper) askAnother(heard []link.Peer, now time.Time) {
	last := a.check.to
	for i, p := range heard { // in random order
		if p != last || i == len(heard)-1 {
			a.sendCheck(p, now)
			return
		}
	}
}

// addPart handles a part of an answer, and whether it has changed the book.
func (a *Keeper) addPart(from link.Peer, id uint64, news bool) {
	a.mu.Lock()
	if a.check.id != id || a.check.to != from {
		a.mu.Unlock()
		return
	}
	a.check.heard = time.Now()
	a.check.news = a.check.news || news
	a.check.parts++
	a.endCheck()
}

// endAnswer handles the last message of an answer. It returns false if none was expected.
func (a *Keeper) endAnswer(from link.Peer, m *message.AssignmentsTaken) bool {
	a.mu.Lock()
	if a.check.id != m.ID || a.check.to != from {
		a.mu.Unlock()
		return false
	}
	a.check.heard, a.check.end = time.Now(), m
	a.endCheck()
	return true
}

// endCheck ends the check if the whole answer has arrived. a.mu is held, and unlocked.
func (a *Keeper) endCheck() {
	c := a.check
	if c.end == nil || c.parts < c.end.Parts {
		a.mu.Unlock()
		return
	}
	a.check.id = 0
	if c.news {
		delete(a.vain, c.to)
	} else {
		a.vain[c.to] = vain{min(a.vain[c.to].times+1, maxVain), time.Now()}
	}
	s := a.pods[c.to]
	further := c.news || s != nil && c.end.Outside > s.outside
	doubted := a.agree(c, further) || !a.synced()
	rest := further && s != nil && s.outside != outsideDone
	a.mu.Unlock()
	switch {
	case doubted:
		a.due.Wake()
	case c.news || rest:
		a.ask(c.to, time.Now(), true) // until nothing changes
	default:
		a.announce() // the other pod may lack records of this one
	}
}

// answer sends what the other pod has not been sent of hosts that only it serves. Then it sends the
// parts that differ, beginning with a random one. So an answer that is too long, and that the other
// pod has no room for, is followed by one about other parts.
func (a *Keeper) answer(from link.Peer, check *message.AssignmentCheck) {
	chosen, ok := a.choose(from, check.Scope)
	if !ok {
		return // the other pod asks again
	}
	end := &message.AssignmentsTaken{ID: check.ID, Whole: a.trusted(), Outside: check.Outside} // before the records are read
	own := a.book.Sums(chosen.shared)
	to, sent := a.link.AssignmentsOf(from), 0
	send := func(records []assignment.Record) {
		for _, m := range divideAssignments(records) {
			for j := range m.Records {
				sent += message.AssignmentSize(&m.Records[j])
			}
			m.ID, m.Answer = check.ID, true
			a.link.Send(to, m)
			end.Parts++
		}
	}
	for ; end.Outside < outsideDone && sent <= maxAnswer; end.Outside++ {
		if chosen.outside != nil {
			send(a.book.Part(int(end.Outside), chosen.outside))
		}
	}
	first := rand.N(assignment.Shards) //nolint:gosec // guessing it is useless
	for n := range own {
		i := (first + n) % assignment.Shards
		if own[i] == check.Sums[i] {
			continue
		}
		if end.More = sent > maxAnswer; end.More {
			break
		}
		send(a.book.Part(i, chosen.shared))
	}
	a.link.Send(to, end)
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
