package assignment

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// A pod of a cluster keeps the records of the hosts that it serves: its scope. The book can have
// records of other hosts, which the pod has served before, or which it had to confirm. They stay
// for [OutsideRetention], in case another pod begins to serve the host and nobody else has them.

// OutsideRetention is how long a book keeps the records of a host that has left its scope, from the
// last time at which it was in step with other pods ([Book.InStep]). It is that of removals: a
// record that is kept for longer could restore an assignment whose removal is forgotten.
const OutsideRetention = Retention

// offerMargin is how long before their end such records are no longer offered to other pods, whose
// clocks may be hours ahead, or have been set.
const offerMargin = 24 * time.Hour

// hostState is what a book has of a host.
type hostState struct {
	records int    // number of records of all kinds
	sum     uint64 // XOR of sumOf of all records
	outside bool   // the host is outside the scope
	back    bool   // it was, and the book has not been in step since
	left    Record // the last time in step; zero if it is that of the hosts in the scope
}

// expired reports whether the records of the host have been outside for their time.
func (h *hostState) expired(now time.Time) bool {
	return h.left.Kind == kindLeft && uint64(OutsideRetention.Milliseconds())+h.left.Value <= unixMilli(now.Truncate(SweepEvery))
}

// SetScope sets the scope of the book: the hosts for which serves returns true. Records of a host
// that leaves it are dropped after [OutsideRetention], unless the host comes back. If serves is
// nil, as it is at first, all hosts are in the scope. sum distinguishes scopes; that of the first
// one is 0.
//
// serves is called with a lock, so it must not use the book.
func (b *Book) SetScope(serves func(host presence.HostName) bool, sum uint64) {
	b.countMu.Lock()
	b.scope, b.scopeSum, b.scoped = serves, sum, true
	b.countMu.Unlock()
	_ = b.place(unixMilli(b.now()), false) // on failure, the file has records for longer
}

// Takes reports whether the book takes records of the host that are sent to all pods: the host is
// in its scope, or it has some.
func (b *Book) Takes(host presence.HostName) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.scope == nil || b.hosts[host] != nil || b.scope(host)
}

// place compares hosts with the scope, and drops what has been outside for too long: all hosts, or
// those that are given. since is the last time in step of a host that was outside from its first
// record on. For save, see lastInStep.
func (b *Book) place(since uint64, save bool, given ...presence.HostName) error {
	b.countMu.Lock()
	hosts := b.hosts
	if len(given) > 0 {
		hosts = make(map[presence.HostName]*hostState, len(given))
		for _, host := range given {
			if h := b.hosts[host]; h != nil {
				hosts[host] = h
			}
		}
	}
	left, expired := b.compareScope(hosts, b.now(), since, save)
	obsolete := b.obsolete
	b.obsolete = nil
	b.countMu.Unlock()
	gone := obsolete
	if len(expired) > 0 {
		gone = append(b.takeOut(expired), obsolete...)
	}
	err := b.discard(gone)
	b.countMu.Lock()
	if err != nil {
		b.obsolete = append(b.obsolete, obsolete...)
	} else {
		left = append(left, b.corrected(obsolete)...)
	}
	b.countMu.Unlock()
	if len(left) > 0 {
		b.storeMu.Lock()
		for i := range left {
			b.unsaved[nameOf(&left[i])] = left[i]
		}
		b.storeMu.Unlock()
		_ = b.Keep() // the caller is not told: if it fails, they wait
	}
	return err
}

// compareScope compares hosts with the scope. It returns times in step that remain to be
// stored, and the hosts that have been outside for too long. countMu is held.
func (b *Book) compareScope(
	hosts map[presence.HostName]*hostState, now time.Time, since uint64, save bool,
) (left []Record, expired map[presence.HostName]bool) {
	if !b.scoped {
		return nil, nil // nobody knows which hosts are served
	}
	last, stale := b.lastInStep(now, save)
	if stale {
		left = append(left, b.stored)
	}
	expired = make(map[presence.HostName]bool)
	for host, h := range hosts {
		outside, leaves := b.scope != nil && !b.scope(host), min(since, unixMilli(now))
		if outside != h.outside {
			h.outside, leaves = outside, last
			b.inside ^= h.sum
			b.outside += map[bool]int{true: 1, false: -1}[outside]
		}
		switch known := h.left.Kind == kindLeft; {
		case !known && outside:
			h.left = leftAt(host, leaves)
			left = append(left, h.left)
		case !known:
		case b.scope == nil:
			b.settle(host, h)
		case h.expired(now) && !h.back:
			expired[host] = true // also if it is served now: this pod does not know what was removed meanwhile
		default:
			if h.left.Value > unixMilli(now) { // the clock was ahead
				b.obsolete = append(b.obsolete, h.left)
				h.left.Value = unixMilli(now)
			}
			if b.setBack(h, !outside) {
				h.left.Until++
				left = append(left, h.left)
			}
		}
	}
	return left, expired
}

// corrected returns the present times in step instead of those that were deleted from the store. It
// could not take them before, because it keeps the greater one of two. countMu is held.
func (b *Book) corrected(deleted []Record) (list []Record) {
	for i := range deleted {
		if h := b.hosts[deleted[i].Host]; deleted[i].Host.IsZero() {
			list = append(list, b.stored)
		} else if h != nil && h.left.Kind == kindLeft {
			list = append(list, h.left)
		}
	}
	return list
}

// hostState returns the state of the host, and makes it if necessary. countMu is held.
func (b *Book) hostState(host presence.HostName) *hostState {
	h := b.hosts[host]
	if h == nil {
		h = &hostState{outside: b.scope != nil && !b.scope(host)}
		b.hosts[host] = h
		if h.outside {
			b.outside++
		}
	}
	return h
}

// release forgets the host if nothing is kept of it. countMu is held.
func (b *Book) release(host presence.HostName, h *hostState) {
	if h.records > 0 || h.left.Kind == kindLeft {
		return
	}
	if delete(b.hosts, host); h.outside {
		b.outside--
	}
}

// tally changes what is known of the host by n records, and its sum by the XOR of them. countMu is
// held.
func (b *Book) tally(host presence.HostName, sum uint64, n int) {
	h := b.hostState(host)
	h.records += n
	if h.sum ^= sum; !h.outside {
		b.inside ^= sum
	}
	b.release(host, h)
}

// placeNew records the hosts of applied records that are outside. It looks at no others: with many
// hosts, each new one would cost more than the one before.
func (b *Book) placeNew(fresh []applied) {
	b.countMu.Lock()
	var outside []presence.HostName
	for i := 0; i < len(fresh) && b.outside > 0; i++ {
		host := fresh[i].Host
		if h := b.hosts[host]; h != nil && h.outside && h.left.Kind != kindLeft {
			outside = append(outside, host)
		}
	}
	b.countMu.Unlock()
	if len(outside) > 0 {
		_ = b.place(unixMilli(b.now()), false, outside...) // on failure, what it could not do is done at the next sweep
	}
}

// takeOut takes all records of the hosts out of memory, and returns them. The records of kindLeft
// are the last ones, so that a crash before all are deleted leaves them.
func (b *Book) takeOut(hosts map[presence.HostName]bool) (gone []Record) {
	for i := range b.shards {
		gone = append(gone, b.shards[i].takeOut(hosts)...)
	}
	b.uncount(gone)
	b.countMu.Lock()
	defer b.countMu.Unlock()
	for host := range hosts {
		if h := b.hosts[host]; h != nil {
			gone = append(gone, h.left)
			h.left = Record{}
			b.release(host, h)
		}
	}
	return gone
}

// takeOut takes the records of the hosts out of the shard.
func (s *shard) takeOut(hosts map[presence.HostName]bool) (gone []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, entries := range s.users {
		if hosts[k.host] {
			for _, e := range entries {
				gone = append(gone, record(k, e))
			}
			delete(s.users, k)
		}
	}
	for k, v := range s.values {
		if hosts[k.host] {
			gone = append(gone, v.record(k))
			delete(s.values, k)
		}
	}
	for i := range gone {
		s.sum ^= sumOf(&gone[i])
	}
	return gone
}

// Offered returns the hosts outside the scope for which serves returns true, and whose records
// another pod can still be given.
func (b *Book) Offered(serves func(host presence.HostName) bool) []presence.HostName {
	now := b.now().Add(offerMargin)
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if b.outside == 0 {
		return nil
	}
	var list []presence.HostName
	for host, h := range b.hosts {
		if h.outside && h.records > 0 && !h.expired(now) && serves(host) {
			list = append(list, host)
		}
	}
	return list
}

// Total returns one sum of all records of the hosts in the scope for which in returns true; of all
// hosts in the scope, if in is nil. Books with equal sums have the same records of these hosts.
// scope is the sum of the scope.
func (b *Book) Total(in func(host presence.HostName) bool) (total, scope uint64) {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if in == nil {
		return b.inside, b.scopeSum
	}
	for host, h := range b.hosts {
		if !h.outside && in(host) {
			total ^= h.sum
		}
	}
	return total, b.scopeSum
}

// Select selects the hosts in the scope for which in returns true; all of the scope, if in is nil.
// The result is for [Book.Sums] and [Book.Part]; nil if that is every host of the book. scope is
// the sum of the scope.
func (b *Book) Select(in func(host presence.HostName) bool) (selected func(host presence.HostName) bool, scope uint64) {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if in == nil && b.outside == 0 {
		return nil, b.scopeSum
	}
	known := make(map[presence.HostName]bool, len(b.hosts))
	for host, h := range b.hosts {
		known[host] = !h.outside && (in == nil || in(host))
	}
	return func(host presence.HostName) bool { return known[host] }, b.scopeSum
}
