package assignment

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Limits of a book. Removals count until they are dropped. Blind removals have limits of their own,
// so that they never take the room of an assignment.
const (
	// MaxOfHost limits the records of a host, so that one host cannot use all memory.
	MaxOfHost = 1 << 20
	// maxRecords limits the records of all hosts, because other pods can name any host.
	maxRecords = 1 << 24
	// MaxBlindOfHost limits the blind removals of a host.
	MaxBlindOfHost = 1 << 18
	// maxBlind limits the blind removals of all hosts.
	maxBlind = 1 << 22
)

// Changed is called without a lock when assignments of a user may have changed. [Book.Mode] has the
// present ones.
type Changed func(host presence.HostName, user string, channels []string)

// Removed is called without a lock, before [Changed], for the users in removals of a host that were
// made on any pod, also if they removed nothing.
type Removed func(host presence.HostName, users []string)

// Book has the assignments, revocations and epochs of all hosts. Its methods are safe for
// concurrent use.
type Book struct {
	node    uint64
	now     func() time.Time
	changed Changed
	removed Removed
	shards  [Shards]shard
	touched atomic.Int64 // Unix nanoseconds; see Touched

	clockMu sync.Mutex
	clock   uint64 // highest clock of all versions so far; guarded by clockMu

	reading atomic.Pointer[func() uint64] // see SetClock; nil before
	onValue [kinds]func(r *applied)       // see OnRevoked and OnEpoch; nil if unset

	// countMu guards the fields below. It is locked after a shard's lock.
	countMu  sync.Mutex
	kept     counts        // number of assignments and removals without the blind ones
	blind    counts        // number of blind removals
	assigned int           // number of assignments
	values   [kinds]counts // number of records of other kinds
	hosts    map[presence.HostName]*hostState
	inside   uint64                            // XOR of the sums of the hosts in the scope
	outside  int                               // number of hosts outside the scope
	scope    func(host presence.HostName) bool // see SetScope
	scopeSum uint64
	scoped   bool     // SetScope was called
	inStep   uint64   // last time in step, in Unix milliseconds; see InStep. 0 if it is not known
	stored   Record   // last time in step in the store; its Value is 0 if there is none
	back     int      // number of hosts that are back
	obsolete []Record // records of kindLeft that remain to be deleted from the store

	// taking makes no record of other pods known before it waits to be stored: whoever sends it
	// again would take it for stored.
	taking sync.Mutex
	// saving has a value while waiting records are stored. It is no mutex, because testing/synctest
	// takes only a goroutine that waits for a channel for one that waits. It is filled before
	// storeMu is locked.
	saving chan struct{}

	// storeMu guards the fields below.
	storeMu sync.RWMutex
	store   Store           // nil if records cannot be stored now
	unsaved map[name]Record // records in the book that are not in the store
	failing bool            // the last attempt to store them failed
}

// counts has numbers of records.
type counts struct {
	hosts map[presence.HostName]int // without zeros
	total int
}

func newCounts() counts { return counts{hosts: make(map[presence.HostName]int)} }

// add adds n records of the host.
func (c *counts) add(host presence.HostName, n int) {
	c.total += n
	c.hosts[host] += n
	if c.hosts[host] == 0 {
		delete(c.hosts, host)
	}
}

// name identifies a record.
type name struct {
	host          presence.HostName
	user, channel string
	kind          Kind
}

func nameOf(r *Record) name { return name{r.Host, r.User, r.Channel, r.Kind} }

// NewBook returns an empty book without a store. node distinguishes its versions from those of
// other pods. If changed is nil, changes are not reported.
func NewBook(node uint64, changed Changed) *Book {
	if changed == nil {
		changed = func(presence.HostName, string, []string) {}
	}
	b := &Book{
		node: node, now: time.Now, changed: changed, removed: func(presence.HostName, []string) {},
		kept: newCounts(), blind: newCounts(), unsaved: make(map[name]Record),
		saving: make(chan struct{}, 1), hosts: make(map[presence.HostName]*hostState),
	}
	for k := range b.values {
		b.values[k] = newCounts()
	}
	for i := range b.shards {
		b.shards[i].users = make(map[userKey][]entry)
	}
	return b
}

// OnRemoved sets the function that is called for removals. It must be called before the first use
// of the book.
func (b *Book) OnRemoved(removed Removed) { b.removed = removed }

// SetClock sets the clock that all pods agree on, in Unix milliseconds. It is used from now on
// where it is ahead of the wall clock. It must be safe for concurrent use.
func (b *Book) SetClock(reading func() uint64) { b.reading.Store(&reading) }

// Time returns the time by the clock that all pods agree on, in Unix milliseconds.
func (b *Book) Time() uint64 {
	wall := unixMilli(b.now())
	if reading := b.reading.Load(); reading != nil {
		return max(wall, (*reading)())
	}
	return wall
}

func unixMilli(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// Attach loads the records of the store, and stores those of the book from then on. If loading
// fails, the book keeps the records that it could load, but not the store.
func (b *Book) Attach(s Store) error {
	now := b.now()
	var loaded, stale, left []Record
	err := s.Load(func(r Record) {
		switch {
		case r.Kind == kindLeft:
			left = append(left, r)
		case r.Kind != KindAssignment && r.stale(now):
			stale = append(stale, r)
		default:
			loaded = append(loaded, r)
		}
	})
	b.loadLeft(left)
	fresh, _ := b.apply(loaded, false)
	stale = append(stale, b.dropStale(now)...) // a removal can follow the assignment that it removes
	b.notify(fresh)
	if err != nil {
		return err
	}
	b.storeMu.Lock()
	b.store = s
	b.storeMu.Unlock()
	_ = b.discard(stale) // if it fails, they are deleted after the next start
	_ = b.Save()         // on failure, the records remain in unsaved
	b.countMu.Lock()
	since := b.inStep
	b.countMu.Unlock()
	_ = b.place(since, false) // on failure, the file has records for longer
	return nil
}

// Detach leaves the book without a store.
func (b *Book) Detach() {
	_ = b.place(unixMilli(b.now()), true) // on failure, the file has an earlier time in step
	b.saving <- struct{}{}
	defer func() { <-b.saving }()
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	b.store = nil
}

// Mode returns how the user is assigned to the channel, or None.
func (b *Book) Mode(host presence.HostName, user, channel string) Mode {
	e, _ := b.shard(host, user).get(userKey{host, user}, channel)
	return e.mode
}

// Of returns the channels that the user is assigned to, sorted by name.
func (b *Book) Of(host presence.HostName, user string) []Assignment {
	return b.shard(host, user).of(userKey{host, user})
}

// Len returns the number of assignments.
func (b *Book) Len() int {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.assigned
}

// Touched returns the time of the last change.
func (b *Book) Touched() time.Time { return time.Unix(0, b.touched.Load()) }
