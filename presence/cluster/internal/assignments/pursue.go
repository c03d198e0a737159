package assignments

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
)

// step repeats what was not answered, requests totals and sends checks until this pod is whole. It
// returns when to look again; zero if not by itself.
func (a *Keeper) step(now time.Time) (next time.Time) {
	heard, _ := a.members.Heard()
	a.mu.Lock()
	next = a.requestTotals(heard, now)
	if a.check.id != 0 {
		due := a.check.heard.Add(a.checkPatience())
		if most := a.check.began.Add(maxCheck); most.Before(due) {
			due = most
		}
		if now.Before(due) {
			next = work.Earliest(next, due)
		} else {
			a.check.id = 0
			if s := a.pods[a.check.to]; s != nil && !s.agreed {
				s.fail()
			} else if a.synced() {
				a.askAnother(heard, now)
			}
		}
	}
	if p, ok := a.nextToCheck(heard); ok && a.check.id == 0 {
		a.sendCheck(p, now)
	}
	became := !a.whole && a.synced()
	if became {
		a.whole, a.before = true, nil
	}
	became = a.settle() || became
	if a.settling() {
		next = work.Earliest(next, now.Add(a.settleAgain())) // a pod may no longer be missing
	}
	a.unlock()
	if became {
		a.announce()
	}
	return next
}

// checkPatience returns how long the pod may take for the next message of its answer to the check
// in progress.
func (a *Keeper) checkPatience() time.Duration {
	if s := a.pods[a.check.to]; s != nil && !s.agreed {
		return s.patience()
	}
	return checkTimeout
}

// requestTotals sends the requests for totals that are due, and returns when the next one is.
func (a *Keeper) requestTotals(heard []link.Peer, now time.Time) (next time.Time) {
	for _, p := range heard {
		s := a.pods[p]
		if s == nil || s.agreed || s.known != 0 {
			continue
		}
		if due := s.asked.Add(s.patience()); now.Before(due) {
			next = work.Earliest(next, due)
			continue
		}
		if !s.asked.IsZero() {
			if s.fail(); s.agreed {
				continue
			}
		}
		s.asked = now
		a.requestTotal(p, s)
		next = work.Earliest(next, now.Add(s.patience()))
	}
	return next
}

// nextToCheck returns the pod to check next: if possible, one that is whole. The first check does
// not wait until all pods have told their totals.
func (a *Keeper) nextToCheck(heard []link.Peer) (best link.Peer, ok bool) {
	var chosen *standing
	wait := false
	for _, p := range heard {
		s := a.pods[p]
		switch {
		case s == nil:
		case s.agreed || s.known == 0:
			wait = wait || !s.agreed && a.met
		case chosen == nil || s.whole && !chosen.whole || s.whole == chosen.whole && s.tries < chosen.tries:
			best, chosen = p, s
		}
	}
	return best, chosen != nil && !wait
}

// agree records that this pod has all records that the pod of an ended check had when the check
// began, and reports whether it did not have them before. further is whether the answer has brought
// anything. An incomplete answer that has not counts as a missing one: otherwise, such answers could
// follow each other without end. a.mu is held.
func (a *Keeper) agree(c check, further bool) (doubted bool) {
	s := a.pods[c.to]
	if s == nil {
		return false
	}
	if s.agreed {
		s.outside = max(s.outside, c.end.Outside)
		return false
	}
	if s.outside = max(s.outside, c.end.Outside); c.end.More || s.outside != outsideDone {
		if further {
			s.tries = 0
		} else {
			s.fail()
		}
		return true
	}
	s.tries, s.agreed, a.met = 0, true, true
	heard, _ := a.members.Heard()
	enough := c.end.Whole && c.scope == a.members.SharedBySame().Scope
	for _, p := range heard {
		other := a.pods[p]
		enough = enough && other != nil && (other.agreed || other.known != 0 && other.known < c.id)
	}
	for _, p := range heard {
		other := a.pods[p]
		switch {
		case other == nil || other.agreed:
		case enough:
			other.agreed = true
		case c.news: // they may have the same now
			other.known, other.asked, other.tries = 0, time.Time{}, 0
		}
	}
	return true
}
