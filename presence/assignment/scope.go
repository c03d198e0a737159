package assignment

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// A pod of a cluster keeps the records of the hosts that it serves: its scope. The book can have records
// of other hosts, which the pod has served before, or which it had to confirm. They stay for
// [OutsideRetention], in case another pod begins to serve the host and nobody else has them.

// OutsideRetention is how long a book keeps the records of a host that has left its scope. It is that of
// removals: a record that is kept for longer could restore an assignment whose removal is forgotten.
const OutsideRetention = Retention

// offerMargin is how long before their end such records are no longer offered to other pods, whose
// clocks may be ahead.
const offerMargin = time.Hour

// kindLeft is the kind of a record that says since when a host is outside the scope, in its Value. It is
// in the store only: pods do not exchange it, and it is in no sum.
const kindLeft Kind = 31

// leftUser stands for the user in a record of that kind.
const leftUser = "left"

// hostState is what a book has of a host.
type hostState struct {
	records int    // number of records of all kinds
	sum     uint64 // XOR of sumOf of all records
	outside bool   // the host is outside the scope
	left    Record // since when; zero while it is not recorded
}

// expired reports whether the records of the host have been outside for their time.
func (h *hostState) expired(now time.Time) bool {
	return h.left.Kind == kindLeft && uint64(OutsideRetention.Milliseconds())+h.left.Value <= unixMilli(now.Truncate(SweepEvery))
}

// SetScope sets the scope of the book: the hosts for which serves returns true. Records of a host that
// leaves it are dropped after [OutsideRetention], unless the host comes back. If serves is nil, as it is
// at first, all hosts are in the scope. sum distinguishes scopes; that of the first one is 0.
//
// serves is called with a lock, so it must not use the book.
func (b *Book) SetScope(serves func(host presence.HostName) bool, sum uint64) {
	b.countMu.Lock()
	b.scope, b.scopeSum, b.scoped = serves, sum, true
	b.countMu.Unlock()
	_ = b.place() // on failure, the file has records for longer
}

// Takes reports whether the book takes records of the host that are sent to all pods: the host is in its
// scope, or it has some.
func (b *Book) Takes(host presence.HostName) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.scope == nil || b.hosts[host] != nil || b.scope(host)
}

// place compares the hosts with the scope, and drops what has been outside for too long.
func (b *Book) place() error {
	now := b.now()
	var left, back []Record
	expired := make(map[presence.HostName]bool)
	b.countMu.Lock()
	if b.scoped { // otherwise nobody knows which hosts are served
		for host, h := range b.hosts {
			outside := b.scope != nil && !b.scope(host)
			if outside != h.outside {
				h.outside = outside
				b.inside ^= h.sum
				b.outside += map[bool]int{true: 1, false: -1}[outside]
			}
			switch {
			case h.left.Kind == kindLeft && b.scope != nil && h.expired(now):
				expired[host] = true // also if it is back: this pod does not know what was removed meanwhile
			case outside && h.left.Kind != kindLeft:
				h.left = leftAt(host, now)
				left = append(left, h.left)
			case !outside && h.left.Kind == kindLeft:
				back = append(back, h.left)
				h.left = Record{}
				b.release(host, h)
			}
		}
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
	if len(expired) > 0 {
		back = append(b.takeOut(expired), back...)
	}
	return b.discard(back)
}

// leftAt returns the record of a host that leaves the scope.
func leftAt(host presence.HostName, now time.Time) Record {
	return Record{Host: host, User: leftUser, Kind: kindLeft, Value: unixMilli(now)}
}

// validLeft reports whether the fields of a record of kindLeft are valid.
func (r *Record) validLeft() bool {
	return r.Kind == kindLeft && !r.Host.IsZero() && r.User == leftUser && r.Channel == "" && r.Mode == None && !r.Blind &&
		r.Version == Version{} && r.Value <= maxValue && r.Until == 0 && r.Local == 0
}

// loadLeft takes over from the store since when hosts are outside.
func (b *Book) loadLeft(records []Record) {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	for _, r := range records {
		b.hostState(r.Host).left = r
	}
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

// tally changes what is known of the host by n records, and its sum by the XOR of them. countMu is held.
func (b *Book) tally(host presence.HostName, sum uint64, n int) {
	h := b.hostState(host)
	h.records += n
	if h.sum ^= sum; !h.outside {
		b.inside ^= sum
	}
	b.release(host, h)
}

// placeNew records the hosts of applied records that are outside.
func (b *Book) placeNew(fresh []applied) {
	b.countMu.Lock()
	place := false
	for i := 0; i < len(fresh) && b.outside > 0 && !place; i++ {
		h := b.hosts[fresh[i].Host]
		place = h != nil && h.outside && h.left.Kind != kindLeft
	}
	b.countMu.Unlock()
	if place {
		_ = b.place() // on failure, what it could not do is done at the next sweep
	}
}

// takeOut takes all records of the hosts out of memory, and returns them. The records of kindLeft are the
// last ones, so that a crash before all are deleted leaves them.
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

// Offered returns the hosts outside the scope for which serves returns true, and whose records another
// pod can still be given.
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

// Total returns one sum of all records of the hosts in the scope for which in returns true; of all hosts
// in the scope, if in is nil. Books with equal sums have the same records of these hosts. scope is the sum
// of the scope.
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

// Select selects the hosts in the scope for which in returns true; all of the scope, if in is nil. The
// result is for [Book.Sums] and [Book.Part]; nil if that is every host of the book. scope is the sum of the
// scope.
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
