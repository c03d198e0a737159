package assignment

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Shards is the number of parts of a book. Pods compare their books part by part.
const Shards = 256

// shard is a part of the book. A user's assignments are in one shard, the same on every pod.
type shard struct {
	mu    sync.RWMutex
	users map[userKey][]entry // sorted by channel; guarded by mu
	sum   uint64              // XOR of sumOf of all entries; guarded by mu
}

type userKey struct {
	host presence.HostName
	user string
}

// entry is a record without host and user.
type entry struct {
	channel string
	version Version
	mode    Mode
}

// find returns the index of the channel in the entries, or where it would be inserted.
func find(entries []entry, channel string) (i int, ok bool) {
	return slices.BinarySearchFunc(entries, channel, func(e entry, name string) int { return strings.Compare(e.channel, name) })
}

func (b *Book) shard(host presence.HostName, user string) *shard {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(host.String()) // never fails
	_, _ = d.WriteString(separator)
	_, _ = d.WriteString(user)
	return &b.shards[d.Sum64()%Shards]
}

// put stores a record if it is later than the present one, which it returns. A record without a
// present one also needs room.
func (s *shard) put(r *Record, room func() bool) (before entry, known, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := userKey{r.Host, r.User}
	entries := s.users[k]
	e := entry{r.Channel, r.Version, r.Mode}
	i, known := find(entries, r.Channel)
	if !known {
		if !room() {
			return entry{}, false, false
		}
		s.users[k] = slices.Insert(entries, i, e)
		s.sum ^= sumOf(k, e)
		return entry{}, false, true
	}
	old := entries[i]
	if r.Version.Compare(old.version) <= 0 {
		return old, true, false
	}
	entries[i] = e
	s.sum ^= sumOf(k, old) ^ sumOf(k, e)
	return old, true, true
}

// get returns the entry of the user and the channel.
func (s *shard) get(k userKey, channel string) (e entry, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := s.users[k]
	i, ok := find(entries, channel)
	if !ok {
		return entry{}, false
	}
	return entries[i], true
}

// of returns the channels that the user is assigned to, sorted by name.
func (s *shard) of(k userKey) []Assignment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Assignment
	for _, e := range s.users[k] {
		if e.mode != None {
			list = append(list, Assignment{e.channel, e.mode})
		}
	}
	return list
}

// sweep drops stale removals and returns them.
func (s *shard) sweep(now time.Time) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []Record
	for k, entries := range s.users {
		left := slices.DeleteFunc(entries, func(e entry) bool {
			r := record(k, e)
			if !r.stale(now) {
				return false
			}
			gone = append(gone, r)
			s.sum ^= sumOf(k, e)
			return true
		})
		switch {
		case len(left) == 0:
			delete(s.users, k)
		case len(left) < len(entries):
			s.users[k] = slices.Clone(left) // release the memory of the removed entries
		}
	}
	return gone
}

func record(k userKey, e entry) Record {
	return Record{Host: k.host, User: k.user, Channel: e.channel, Mode: e.mode, Version: e.version}
}

// sumOf returns the share of an entry in the sum of its shard.
func sumOf(k userKey, e entry) uint64 {
	var buf [256]byte
	r := record(k, e)
	return xxhash.Sum64(appendValue(appendKey(buf[:0], &r), &r))
}

// Sums has the sum of each part of a book. Books with equal sums have the same records.
type Sums [Shards]uint64

// Sums returns the sums of the book.
func (b *Book) Sums() *Sums {
	sums := new(Sums)
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.RLock()
		sums[i] = s.sum
		s.mu.RUnlock()
	}
	return sums
}

// Total returns one sum of all sums.
func (s *Sums) Total() uint64 {
	buf := make([]byte, 0, Shards*8)
	for _, sum := range s {
		for shift := 56; shift >= 0; shift -= 8 {
			buf = append(buf, byte(sum>>shift))
		}
	}
	return xxhash.Sum64(buf)
}

// Part returns the records of a part, from 0 to Shards-1.
func (b *Book) Part(i int) []Record {
	s := &b.shards[i]
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Record
	for k, entries := range s.users {
		for _, e := range entries {
			list = append(list, record(k, e))
		}
	}
	return list
}
