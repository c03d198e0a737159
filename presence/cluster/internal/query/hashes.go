package query

import (
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Numbers of entries of a pod's lists up to which they are sent unasked. Longer ones wait until the
// asker has a turn for them, see [Queries.takeTurn].
const (
	unaskedHashes   = 8 << 10
	unaskedMembers  = 2 << 10
	unaskedListings = 8 << 10 // a hundred pods send fewer than MaxListed
)

const (
	// keepHashes is how long hashes are kept for the next part. If it is asked for later, they are
	// those of the users at that time.
	keepHashes = 5 * time.Second
	// maxKept limits the hashes that are kept: 32 MiB. A longer list is kept alone.
	maxKept = 4 << 20
)

// keptHashes keeps the sorted hashes of hosts of many users while pods read them in parts.
type keptHashes struct {
	mu    sync.Mutex
	lists map[keptKey]*keptList
	size  int // number of hashes in all lists
}

// keptKey identifies a count. Its seed is random.
type keptKey struct {
	from link.Peer
	host presence.HostName
	seed uint64
}

type keptList struct {
	hashes []uint64
	used   time.Time
	expiry *time.Timer
}

// part returns the first [message.MaxHashes] hashes from q.From on, and whether there are more. If
// the list of the count is not kept, it has the users of this moment.
func (k *keptHashes) part(from link.Peer, q *message.Query, pods presence.Pods) (part []uint64, more bool) {
	key := keptKey{from, q.Host, q.Seed}
	hashes := k.take(key)
	if hashes == nil {
		ids, stats := pods.UserIDs(q.Host)
		hashes = sortedHashes(ids, stats.Users, q.Seed)
	}
	first, _ := slices.BinarySearch(hashes, q.From)
	part = hashes[first:]
	if len(part) <= message.MaxHashes {
		return part, false
	}
	k.keep(key, hashes)
	return part[:message.MaxHashes:message.MaxHashes], true
}

// take removes and returns a list; nil if it is not kept.
func (k *keptHashes) take(key keptKey) []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.lists[key]
	if l == nil {
		return nil
	}
	k.removeLocked(key, l)
	return l.hashes
}

// keep keeps a list, instead of those that were not used for the longest time.
func (k *keptHashes) keep(key keptKey, hashes []uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lists == nil {
		k.lists = make(map[keptKey]*keptList)
	}
	if l := k.lists[key]; l != nil {
		k.removeLocked(key, l)
	}
	for len(k.lists) > 0 && k.size+len(hashes) > maxKept {
		var oldest keptKey
		for other, l := range k.lists {
			if o := k.lists[oldest]; o == nil || l.used.Before(o.used) {
				oldest = other
			}
		}
		k.removeLocked(oldest, k.lists[oldest])
	}
	l := &keptList{hashes: hashes, used: time.Now()}
	l.expiry = time.AfterFunc(keepHashes, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.lists[key] == l {
			k.removeLocked(key, l)
		}
	})
	k.lists[key] = l
	k.size += len(hashes)
}

func (k *keptHashes) removeLocked(key keptKey, l *keptList) {
	l.expiry.Stop()
	delete(k.lists, key)
	k.size -= len(l.hashes)
}

// sortedHashes returns the different hashes of about n IDs in ascending order.
func sortedHashes(ids iter.Seq[string], n int, seed uint64) []uint64 {
	hashes := make([]uint64, 0, n)
	d := xxhash.NewWithSeed(seed)
	for id := range ids {
		d.ResetWithSeed(seed)
		_, _ = d.WriteString(id) // never fails
		hashes = append(hashes, d.Sum64())
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}
