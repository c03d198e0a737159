package assignments

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// The book has the records of the hosts that this pod serves, its scope, and for a while those of
// others (assignment.Book.SetScope). Two pods compare what they have of the hosts that both serve.
// They take notice of a total or a check only if its scope shows that each knows the present sites
// of the other one. So an answer to a pod that begins to serve a host has the records of that host,
// and shows that what is complete later waits for this pod.
//
// What a pod has of hosts that it does not serve is in no sum. It is sent with answers to checks,
// once to each pod that serves them.

// maxScopes limits the sites that are remembered, see Keeper.before.
const maxScopes = 8

// beginning is how long logins may wait for the revocations of a host that this pod begins to
// serve, from then on: as long as they wait for those of other pods when it starts. Later,
// something keeps the others from answering.
const beginning = 5 * time.Second

// siteChange is that this pod served other sites until then.
type siteChange struct {
	before *sites.Served
	at     time.Time
}

// SetSites handles that this pod serves other hosts, which it has announced to other pods. It may
// lack complete changes of those that it did not serve before.
func (a *Keeper) SetSites() {
	if a == nil {
		return
	}
	served, sum := a.members.Served()
	if !a.replaceSites(served, sum) {
		return
	}
	// Until then, this pod answers nobody: the book has another scope than the sites.
	a.book.SetScope(func(host presence.HostName) bool { return served.Serves(host.String()) }, sum)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.pods {
		s.askAgain()
	}
	a.due.Wake()
}

// replaceSites doubts all pods if the sites have changed, and reports whether they have.
func (a *Keeper) replaceSites(served *sites.Served, sum uint64) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.served != nil && a.served.Sum == sum {
		return false
	}
	before := a.before
	switch {
	case a.synced():
		before = []*sites.Served{a.served}
	case before != nil:
		before = add(before, a.served)
	}
	if a.served != nil {
		if a.settled = add(a.settled, a.served); a.settled == nil {
			a.settled = []*sites.Served{sites.Compile(0, nil)} // no host
		}
		a.hearing, a.owed = a.hearsAll(), nil
	}
	if a.changes = a.currentChanges(); a.served != nil && len(a.changes) < maxScopes {
		a.changes = append(a.changes, siteChange{a.served, time.Now()})
	}
	if a.served == nil || a.ever != nil {
		a.ever = add(a.ever, served)
	}
	a.served = served
	a.doubtAll(before)
	a.settle()
	return true
}

// doubtAll doubts all pods. Of hosts that all of before serve, this pod has all complete changes.
// a.mu is held.
func (a *Keeper) doubtAll(before []*sites.Served) {
	for p := range a.pods {
		a.doubt(p)
	}
	if len(a.pods) > 0 {
		a.before = before
	}
}

// A pod that is missing may serve a host that this pod begins to serve, or may have served it: its
// sites can have changed since it was heard. While it was not heard, its changes were complete
// without this pod. If it has left the host since, no answer names it. So a host is settled when,
// since this pod began to serve it, there was a time at which no pod was missing, and this pod then
// had what all have.
//
// A pod that counts as crashed can be alive too. If it served the host, it may have been the only
// one, and have changes of its last seconds that were complete. This pod waits for it, unless another
// pod has served the host before and has all complete changes. After a goodbye, no pod is waited for.
//
// A pod that starts waits in the same way, for all hosts: after the goodbye of its last run, changes
// were complete without it. If the last run was killed, they can be too, after goodbyes of the other
// pods. Missing pods are named only for hosts that they served.

// settle makes hosts settled if that time has come, and reports whether it has. If it can come now, it
// doubts all pods: what they had while another one was missing can be too old. A start without crashed
// pods needs no second check, because each pod was checked when it was heard. a.mu is held.
func (a *Keeper) settle() bool {
	if !a.settling() {
		return false
	}
	crashed := a.members.Crashed()
	for p := range a.owed {
		if crashed[p] == nil { // it is back, or is not waited for: this pod looks again which pods there are
			a.hearing, a.owed = false, nil
		}
	}
	first := a.owed == nil
	if first {
		if !a.agreesWithAll(len(crashed) > 0) {
			return false
		}
		if !a.starts {
			maps.DeleteFunc(crashed, func(_ link.Peer, served *sites.Served) bool {
				return !slices.ContainsFunc(a.settled, func(s *sites.Served) bool { return !s.Covers(served) })
			})
		}
		a.owed = crashed
	}
	maps.DeleteFunc(a.owed, func(_ link.Peer, served *sites.Served) bool {
		return a.sharesWhole(func(s membership.Shared) bool { return s.Serves == nil || s.Served.Covers(served) })
	})
	if len(a.owed) > 0 {
		return first
	}
	a.settled, a.owed, a.starts = nil, nil, false
	return true
}

// agreesWithAll reports whether this pod hears all pods that can be alive, and has had what all have since
// it has heard all. a.mu is held.
func (a *Keeper) agreesWithAll(crashed bool) bool {
	if !a.hearsAll() {
		a.hearing = false
		return false
	}
	if !a.hearing {
		a.hearing = true
		if a.settled != nil || crashed {
			a.doubtAll(a.syncedSites())
			a.due.Wake()
		}
	}
	heard, _ := a.members.Heard()
	for _, p := range heard {
		if s := a.pods[p]; s == nil || !s.agreed || s.gaveUp || s.known == 0 {
			return false
		}
	}
	return true
}

// settling reports whether this pod waits until all hosts are settled. a.mu is held.
func (a *Keeper) settling() bool { return a.settled != nil || a.starts }

// settleAgain returns the time between two looks whether hosts become settled. It is short while this pod
// only waits until it knows all pods: then it looks alive, and an operator may stop the next pod.
func (a *Keeper) settleAgain() time.Duration {
	if _, all := a.members.Heard(); all && !a.members.KnowsPods() {
		return repeatAfter / 10
	}
	return repeatAfter
}

// hearsAll reports whether this pod hears all pods that can be alive.
func (a *Keeper) hearsAll() bool {
	_, all := a.members.Heard()
	return all && a.members.KnowsPods()
}

// syncedSites returns the sites for before if this pod doubts more pods. a.mu is held.
func (a *Keeper) syncedSites() []*sites.Served {
	if a.synced() {
		return []*sites.Served{a.served}
	}
	return a.before
}

// Unsettled returns the pods that this one waits for before a host that it serves is settled. missing
// is set if it waits for all missing pods; crashed has the pods that count as crashed. If a is nil, it
// waits for none.
func (a *Keeper) Unsettled(host presence.HostName) (missing bool, crashed []link.Peer) {
	if a == nil {
		return false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.served.Serves(host.String()) {
		return false, nil
	}
	return a.waitsFor(host)
}

// waitsFor returns the pods that this one waits for before the host is settled. a.mu is held.
func (a *Keeper) waitsFor(host presence.HostName) (missing bool, crashed []link.Peer) {
	begun := slices.ContainsFunc(a.settled, func(s *sites.Served) bool { return !s.Serves(host.String()) })
	if !begun && !a.starts {
		return false, nil
	}
	owed := a.owed
	if owed == nil {
		if begun {
			return true, nil
		}
		owed = a.members.Crashed()
	}
	for p, served := range owed {
		if served.Serves(host.String()) {
			crashed = append(crashed, p)
		}
	}
	if len(crashed) > 0 && a.owed != nil && a.sharesWhole(func(s membership.Shared) bool { return s.Serves == nil || s.Serves(host) }) {
		return false, nil
	}
	return false, crashed
}

// settledFor reports whether the host is settled. a.mu is held.
func (a *Keeper) settledFor(host presence.HostName) bool {
	missing, crashed := a.waitsFor(host)
	return !missing && len(crashed) == 0
}

// sharesWhole reports whether this pod has what another pod has that serves the same hosts, or those in
// question, and is whole. a.mu is held.
func (a *Keeper) sharesWhole(serves func(s membership.Shared) bool) bool {
	for p, s := range a.pods {
		if !s.agreed || s.gaveUp || s.known == 0 || !s.whole {
			continue
		}
		if shared, ok := a.members.Shared(p); ok && serves(shared) {
			return true
		}
	}
	return false
}

// add adds sites to a list of those that all serve a host; nil if it is too long.
func add(list []*sites.Served, s *sites.Served) []*sites.Served {
	if len(list) == maxScopes {
		return nil
	}
	return append(slices.Clip(list), s)
}

// SyncedFor reports whether this pod serves the host, and has all changes of it that other pods
// have called complete. If a is nil, it returns true.
func (a *Keeper) SyncedFor(host presence.HostName) bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.served.Serves(host.String()) || !a.settledFor(host) {
		return false
	}
	synced := len(a.before) > 0
	for _, s := range a.before {
		synced = synced && s.Serves(host.String())
	}
	return synced || a.synced()
}

// Begins reports whether this pod has begun to serve the host in the last seconds, and may lack the
// complete changes of it, such as revocations. It is true for a host that it does not serve: it may
// be about to. If a is nil, it returns false.
func (a *Keeper) Begins(host presence.HostName) bool {
	if a == nil || a.SyncedFor(host) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.served.Serves(host.String()) {
		return true
	}
	a.changes = a.currentChanges()
	return slices.ContainsFunc(a.changes, func(c siteChange) bool { return !c.before.Serves(host.String()) })
}

// currentChanges returns the changes of sites without those that are too old.
func (a *Keeper) currentChanges() []siteChange {
	return slices.DeleteFunc(a.changes, func(c siteChange) bool { return time.Since(c.at) >= beginning })
}

// SitesChanged handles that another pod serves other hosts, or that its sites are known now. It may
// have what this pod lacks, of hosts that it no longer serves.
func (a *Keeper) SitesChanged(p link.Peer) {
	if a == nil {
		return
	}
	if m, ok := a.total(p); ok { // if it waits for an answer to what was sent before, it asks again
		m.Whole = a.trusted()
		a.link.Send(a.link.AssignmentsOf(p), m)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.pods[p]; s != nil {
		s.outside, s.whole = 0, false
		s.askAgain()
	}
	a.due.Wake()
}

// askAgain makes the total of the pod be requested at once, unless it has answered.
func (s *standing) askAgain() {
	if s.known == 0 {
		s.asked, s.tries = time.Time{}, 0
	}
}

// total returns the total for a pod. ok is false while its sites are not known, or those of this
// pod are being changed.
func (a *Keeper) total(p link.Peer) (m *message.AssignmentTotal, ok bool) {
	shared, ok := a.members.Shared(p)
	if !ok {
		return nil, false
	}
	total, scope := a.book.Total(shared.Serves)
	return &message.AssignmentTotal{
		Total: total, Scope: shared.Scope, Outside: shared.Serves != nil && len(a.book.Offered(shared.Serves)) > 0,
	}, scope == shared.Own
}

// noteInStep tells the book that it has what all others have, unless a pod can be alive that is not
// heard. Before this pod has agreed with another one, those that have ended may be running again.
func (a *Keeper) noteInStep() {
	if !a.hearsAll() {
		return
	}
	alone := a.members.Alone()
	a.mu.Lock()
	served, synced := a.served, a.synced() && !a.settling() && (a.met || alone)
	for _, s := range a.pods {
		synced = synced && !s.gaveUp
	}
	a.mu.Unlock()
	if synced && served != nil {
		a.book.InStep(served.Sum)
	}
}

// announce sends the total to all pods, and those of other hosts to pods with other sites.
func (a *Keeper) announce() {
	whole, same := a.trusted(), a.members.SharedBySame()
	if total, scope := a.book.Total(nil); scope == same.Own {
		a.link.Send(a.link.Assignments(), &message.AssignmentTotal{Total: total, Scope: same.Scope, Whole: whole})
	}
	totals := make(map[uint64]*message.AssignmentTotal) // by scope
	for _, p := range a.members.All() {
		shared, ok := a.members.Shared(p)
		if !ok || shared.Serves == nil {
			continue
		}
		m := totals[shared.Scope]
		if m == nil {
			if m, ok = a.total(p); !ok || m.Scope != shared.Scope {
				continue
			}
			m.Whole = whole
			totals[m.Scope] = m
		}
		a.link.Send(a.link.AssignmentsOf(p), m)
	}
}

// selection is what this pod sends a pod that has sent a check.
type selection struct {
	shared  func(host presence.HostName) bool // hosts that both serve; nil if that is every host of the book
	outside func(host presence.HostName) bool // hosts that only the other pod serves; nil without any
}

// choose returns what to send a pod. ok is false if the check is about other sites than those that
// are known.
func (a *Keeper) choose(p link.Peer, scope uint64) (s selection, ok bool) {
	shared, ok := a.members.Shared(p)
	if !ok || shared.Scope != scope {
		return selection{}, false
	}
	selected, own := a.book.Select(shared.Serves)
	if own != shared.Own {
		return selection{}, false
	}
	s.shared = selected
	if shared.Serves == nil {
		return s, true
	}
	if list := a.book.Offered(shared.Serves); len(list) > 0 {
		offered := make(map[presence.HostName]bool, len(list))
		for _, host := range list {
			offered[host] = true
		}
		s.outside = func(host presence.HostName) bool { return offered[host] }
	}
	return s, true
}

// outsideDone is the number of parts of a pod that has nothing left of hosts that it does not
// serve.
const outsideDone = uint64(assignment.Shards)
