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

// shard is a part of the book. The records of a user are in one shard, the same on every pod.
type shard struct {
	mu     sync.RWMutex
	users  map[userKey][]entry // sorted by channel; guarded by mu
	values map[valueKey]value  // records of other kinds; nil before the first one; guarded by mu
	sum    uint64              // XOR of sumOf of all records; guarded by mu
}

type userKey struct {
	host presence.HostName
	user string
}

// entry is a record without host and user.
type entry struct {
	channel string // empty in a wipe, which is the first entry of its user
	version Version
	mode    Mode
	blind   bool
	// ended is set in a blind removal that has removed something from this book, itself or after an
	// earlier one. It is not in the sum, because it differs between pods.
	ended bool
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

// placed is the result of put.
type placed struct {
	applied bool
	known   bool    // there was an entry of the channel
	before  entry   // that entry
	covered []entry // entries that a wipe has removed
	full    bool    // there was no room
	sum     uint64  // change in the sum of the shard, see sumOf
}

// put stores a record if it is later than the present one. A record without a present one also
// needs room, unless it is a wipe that removes an assignment.
func (s *shard) put(r *Record, room func() bool) placed {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := userKey{r.Host, r.User}
	entries := s.users[k]
	e := entry{channel: r.Channel, version: r.Version, mode: r.Mode, blind: r.Blind}
	i, known := find(entries, r.Channel)
	p := placed{known: known}
	if known {
		p.before = entries[i]
		if r.Version.Compare(p.before.version) <= 0 {
			return p
		}
		e.ended = r.Blind && (!p.before.blind || p.before.ended)
	}
	if w, ok := wipeOf(entries); ok && !r.wipe() {
		if r.Version.Compare(w.version) <= 0 {
			return p
		}
		e.ended = e.ended || r.Blind && w.ended
	}
	if !known && (!r.wipe() || !removesAssignment(entries, r.Version)) && !room() {
		p.full = true
		return p
	}
	if r.wipe() {
		entries, p.covered = cover(entries, r.Version)
		for _, old := range p.covered {
			p.sum ^= sumOfEntry(k, old)
			e.ended = e.ended || r.Blind && (!old.blind || old.ended)
		}
		i = 0
	}
	if known {
		p.sum ^= sumOfEntry(k, p.before)
		entries[i] = e
	} else {
		entries = slices.Insert(entries, i, e)
	}
	s.users[k] = entries
	p.sum ^= sumOfEntry(k, e)
	s.sum ^= p.sum
	p.applied = true
	return p
}

// wipeOf returns the wipe in the entries of a user.
func wipeOf(entries []entry) (w entry, ok bool) {
	if len(entries) == 0 || entries[0].channel != "" {
		return entry{}, false
	}
	return entries[0], true
}

// removesAssignment reports whether a wipe of the version removes one of the entries that is not a
// removal.
func removesAssignment(entries []entry, v Version) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.mode != None && e.version.Compare(v) <= 0 })
}

// cover separates the entries that a wipe of the version removes. An earlier wipe is not among
// them.
func cover(entries []entry, v Version) (left, covered []entry) {
	left = slices.DeleteFunc(entries, func(e entry) bool {
		ends := e.channel != "" && e.version.Compare(v) <= 0
		if ends {
			covered = append(covered, e)
		}
		return ends
	})
	return slices.Clip(left), covered
}

// latest returns the latest version for the user and the channel, and whether it is of a blind
// removal that has removed something. If channel is empty, it is the latest version of all
// channels.
func (s *shard) latest(k userKey, channel string) (v Version, ended bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := s.users[k]
	if channel != "" {
		if w, ok := wipeOf(entries); ok {
			v, ended = w.version, w.ended
		}
		i, ok := find(entries, channel)
		if !ok {
			return v, ended
		}
		entries = entries[i : i+1]
	}
	for _, e := range entries {
		if e.version.Compare(v) > 0 {
			v, ended = e.version, e.ended
		}
	}
	return v, ended
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

// sweep drops stale records and returns them.
func (s *shard) sweep(now time.Time) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.sweepValues(now)
	for k, entries := range s.users {
		left := slices.DeleteFunc(entries, func(e entry) bool {
			r := record(k, e)
			if !r.stale(now) {
				return false
			}
			gone = append(gone, r)
			s.sum ^= sumOf(&r)
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
	return Record{Host: k.host, User: k.user, Channel: e.channel, Mode: e.mode, Blind: e.blind, Version: e.version}
}

func sumOfEntry(k userKey, e entry) uint64 {
	r := record(k, e)
	return sumOf(&r)
}

// sumOf returns the share of a record in the sum of its shard.
func sumOf(r *Record) uint64 {
	var buf [256]byte
	return xxhash.Sum64(appendValue(appendKey(buf[:0], r), r))
}

// Sums has the sum of each part of a book. Books with equal sums have the same records.
type Sums [Shards]uint64

// Sums returns the sums of the hosts for which in returns true, for which it reads all records. If
// in is nil, the sums are of all hosts, and it does not.
func (b *Book) Sums(in func(host presence.HostName) bool) *Sums {
	sums := new(Sums)
	for i := range b.shards {
		s := &b.shards[i]
		if in != nil {
			s.visit(in, func(r Record) { sums[i] ^= sumOf(&r) })
			continue
		}
		s.mu.RLock()
		sums[i] = s.sum
		s.mu.RUnlock()
	}
	return sums
}

// Part returns the records of a part, from 0 to Shards-1, of the hosts for which in returns true;
// of all, if in is nil.
func (b *Book) Part(i int, in func(host presence.HostName) bool) (list []Record) {
	b.shards[i].visit(in, func(r Record) { list = append(list, r) })
	return list
}

// visit calls take with the records of the hosts for which in returns true, under the lock. If in
// is nil, that is all.
func (s *shard) visit(in func(host presence.HostName) bool, take func(r Record)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for k, entries := range s.users {
		if in != nil && !in(k.host) {
			continue
		}
		for _, e := range entries {
			take(record(k, e))
		}
	}
	for k, v := range s.values {
		if in == nil || in(k.host) {
			take(v.record(k))
		}
	}
}
