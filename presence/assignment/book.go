package assignment

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// The bounds of a book. Removals count for as long as they are kept.
const (
	// MaxOfHost is how many records a host can have, so that none takes all memory.
	MaxOfHost = 1 << 20
	// maxRecords is for all hosts: other pods can name any.
	maxRecords = 1 << 24
)

// Changed is told what may have changed of a user, without a lock held. What holds is for [Book.Mode] to say.
type Changed func(host presence.HostName, user string, channels []string)

// Book is the assignments of all hosts. It is safe for concurrent use.
type Book struct {
	node    uint64
	now     func() time.Time
	changed Changed
	shards  [Shards]shard
	touched atomic.Int64 // see Touched, Unix nanoseconds

	clockMu sync.Mutex
	clock   uint64 // the highest that was seen; guarded by clockMu

	// countMu guards what follows. It is taken after a shard's lock.
	countMu  sync.Mutex
	records  map[presence.HostName]int // by host
	total    int                       // of all hosts
	assigned int                       // of these, those that are no removals

	// storeMu guards what follows.
	storeMu sync.RWMutex
	store   Store           // nil: nothing can be kept now
	unsaved map[name]Record // in the book and not in the store
}

// name is what a record is about.
type name struct {
	host          presence.HostName
	user, channel string
}

func nameOf(r *Record) name { return name{r.Host, r.User, r.Channel} }

// NewBook returns an empty book without a store. The node tells its versions from those of others. A nil changed is nobody.
func NewBook(node uint64, changed Changed) *Book {
	if changed == nil {
		changed = func(presence.HostName, string, []string) {}
	}
	b := &Book{
		node: node, now: time.Now, changed: changed,
		records: make(map[presence.HostName]int),
		unsaved: make(map[name]Record),
	}
	for i := range b.shards {
		b.shards[i].users = make(map[userKey][]entry)
	}
	return b
}

// Attach has the book take over what the store has, and keep its own in it from then on. An error is one of reading: then
// the book stays without a store, but has what could be read.
func (b *Book) Attach(s Store) error {
	now := b.now()
	var loaded, stale []Record
	err := s.Load(func(r Record) {
		if r.stale(now) {
			stale = append(stale, r)
			return
		}
		loaded = append(loaded, r)
	})
	fresh, _ := b.apply(loaded, false)
	b.tell(fresh)
	if err != nil {
		return err
	}
	if len(stale) > 0 {
		_ = s.Delete(stale) // they do no harm, and are met again at the next start
	}
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	b.store = s
	_ = b.saveLocked() // what cannot be kept stays with Unsaved
	return nil
}

// Detach leaves the book without a store.
func (b *Book) Detach() {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	b.store = nil
}

// Mode returns how the user is assigned to the channel, None for not at all.
func (b *Book) Mode(host presence.HostName, user, channel string) Mode {
	e, _ := b.shard(host, user).get(userKey{host, user}, channel)
	return e.mode
}

// Of returns the channels that the user is assigned to, in the order of their names.
func (b *Book) Of(host presence.HostName, user string) []Assignment {
	return b.shard(host, user).of(userKey{host, user})
}

// Len returns how many assignments there are.
func (b *Book) Len() int {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.assigned
}

// Touched returns when the book was changed last.
func (b *Book) Touched() time.Time { return time.Unix(0, b.touched.Load()) }
