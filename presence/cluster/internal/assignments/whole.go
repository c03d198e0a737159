package assignments

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A change is complete although a pod has not stored it, if the pod had ended for the one that sent
// the change, or was not known to it. So this pod may lack complete changes of a pod that did not
// know it for a while: of all pods when it starts, or has received nothing for a while, and of a
// pod that was silent or missing. It is whole if there is no such pod.
//
// It has the complete changes of a pod if it has all records of that pod, or of another one that is
// whole, at a time when both knew this pod: what is complete later waits for this pod. Therefore it
// first requests totals. The answer shows that the other pod knows this one. Only then it sends
// checks.

const (
	// repeatAfter is the time after which an unanswered question is repeated. It doubles each time,
	// up to checkTimeout.
	repeatAfter = 300 * time.Millisecond
	// maxTries is the number of unanswered questions after which a pod is no longer waited for.
	maxTries = 4
)

// standing is what this pod knows of another one that it hears.
type standing struct {
	agreed bool // this pod has all its complete changes
	gaveUp bool // it only counts as agreed, because it did not answer
	whole  bool // it said that it is whole

	request uint64    // ID of the requests for its total
	known   uint64    // lastID at the time of its answer, which shows that it knows this pod; 0 before
	asked   time.Time // time of the last request
	tries   int       // unanswered questions
	outside uint64    // number of parts of which this pod has what the other one had outside its scope
}

// doubtful returns the standing of a pod that may have complete changes that this one lacks. a.mu
// is held.
func (a *Keeper) doubtful() *standing {
	a.lastID++
	return &standing{request: a.lastID}
}

// Synced reports whether this pod has all changes that other pods have called complete. A pod
// without others has. If a is nil, it returns true.
func (a *Keeper) Synced() bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.synced()
}

func (a *Keeper) synced() bool {
	if a.whole {
		return true
	}
	for _, s := range a.pods {
		if !s.agreed {
			return false
		}
	}
	return true
}

// trusted reports whether other pods can rely on this one to have all complete changes: it has
// agreed with other pods since its start, and hears all pods.
func (a *Keeper) trusted() bool {
	_, all := a.members.Heard()
	a.mu.Lock()
	defer a.mu.Unlock()
	return all && a.met && !a.settling() && a.synced()
}

// PodUp handles a pod that joined. If this pod has joined before, the other one is new and has
// nothing that this one lacks, unless this one has served other hosts: the other one may know only
// those yet, and then its changes of new hosts are complete without this pod. While starts is set, the
// other one may have counted as crashed since this pod started.
func (a *Keeper) PodUp(p link.Peer) {
	if a == nil {
		return
	}
	knows := a.members.KnowsPods()
	a.mu.Lock()
	joined := knows && !a.starts
	s := a.pods[p]
	if s == nil {
		s = a.doubtful()
		s.agreed = joined && a.met && len(a.ever) == 1
		if !s.agreed {
			a.doubtNew(joined)
		}
		a.pods[p] = s
	}
	s.asked = time.Now()
	a.requestTotal(p, s)
	// Of two pods that may have been apart since they started, the younger one sends a check.
	check := s.agreed && link.CompareIncarnations(a.link.Self().Incarnation, p.Incarnation) > 0
	a.unlock()
	a.due.Wake()
	if check {
		a.ask(p, time.Now(), true)
	}
}

// HeardAgain handles a pod that was silent or missing.
func (a *Keeper) HeardAgain(p link.Peer) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doubt(p)
}

// Probed handles a probe of a pod: the pod does not know this one. If it did before, it has taken
// this pod for ended.
func (a *Keeper) Probed(by link.Peer) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.pods[by]; s != nil && s.known != 0 {
		a.doubt(by)
	}
}

// RecheckAll handles that this pod has received nothing for a while.
func (a *Keeper) RecheckAll() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.pods {
		a.doubt(p)
	}
}

// doubtNew handles a new pod that may have complete changes that this one lacks. If this pod has
// joined, they are of hosts that it did not serve all the time. a.mu is held.
func (a *Keeper) doubtNew(joined bool) {
	switch {
	case !joined || !a.met || a.ever == nil:
		a.before = nil
	case a.synced():
		a.before = a.ever
	case a.before != nil:
		for _, s := range a.ever {
			a.before = add(a.before, s)
			if a.before == nil {
				break
			}
		}
	}
	a.whole = false
}

// doubt makes the pod one that may have complete changes that this one lacks. a.mu is held.
func (a *Keeper) doubt(p link.Peer) {
	a.pods[p], a.whole, a.before = a.doubtful(), false, nil
	if a.check.to == p {
		a.check.id = 0
	}
	a.due.Wake()
}

// compareTotal handles the total of another pod.
func (a *Keeper) compareTotal(from link.Peer, m *message.AssignmentTotal) {
	answer, ok := a.total(from)
	if !ok || answer.Scope != m.Scope {
		return // one of the two does not know the sites of the other one yet
	}
	own := answer.Total
	if m.Wanted {
		answer.ID, answer.Whole = m.ID, a.trusted()
		a.link.Send(a.link.AssignmentsOf(from), answer)
	}
	a.mu.Lock()
	if own == m.Total {
		delete(a.vain, from)
	}
	s := a.pods[from]
	switch {
	case s == nil || !s.gaveUp:
	case a.settling(): // it can answer now
		before := a.syncedSites()
		a.doubt(from)
		a.before, s = before, a.pods[from]
	case own == m.Total:
		s.gaveUp = false
	}
	if s != nil && s.agreed && !m.Wanted {
		s.whole = m.Whole && own == m.Total
	}
	switch {
	case s == nil:
	case m.Wanted, m.ID == 0: // it knows this pod by now
		if s.known == 0 {
			s.asked = time.Time{}
		}
	case m.ID == s.request:
		s.known, s.whole, s.tries = a.lastID, m.Whole, 0
		if own == m.Total && (!m.Outside || s.outside == outsideDone) {
			s.agreed, a.met = true, true
		}
	}
	compare := m.ID == 0 && a.whole
	outside := s != nil && s.agreed && m.Outside && s.outside != outsideDone
	if !a.whole {
		a.due.Wake()
	}
	a.mu.Unlock()
	if compare && own != m.Total || outside {
		a.ask(from, time.Now(), outside)
	}
}

// requestTotal requests the total of a pod. a.mu is held.
func (a *Keeper) requestTotal(p link.Peer, s *standing) {
	if m, ok := a.total(p); ok {
		m.ID, m.Wanted = s.request, true
		a.send(p, m)
	}
}

// patience returns how long the pod may take for an answer.
func (s *standing) patience() time.Duration { return min(repeatAfter<<s.tries, checkTimeout) }

// fail counts a question without an answer. After too many, the pod is no longer waited for.
func (s *standing) fail() {
	s.tries++
	if !s.agreed && s.tries >= maxTries {
		s.agreed, s.gaveUp = true, true
	}
}
