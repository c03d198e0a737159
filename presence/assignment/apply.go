package assignment

import (
	"github.com/rollcall-gateway/rollcall/presence"
)

// apply applies the records that are later than those in the book, and returns them. If bounded is
// set, it leaves out new records without room, and then returns false.
func (b *Book) apply(records []Record, bounded bool) (fresh []Record, all bool) {
	all = true
	for i := range records {
		r := &records[i]
		full := false
		before, known, ok := b.shard(r.Host, r.User).put(r, func() bool {
			full = bounded && !b.room(r.Host, 1)
			return !full
		})
		if full {
			all = false
		}
		if !ok {
			continue
		}
		b.advanceClock(r.Version)
		fresh = append(fresh, *r)
		b.countMu.Lock()
		if !known {
			b.count(r.Host, 1)
		}
		b.assigned += assigned(r.Mode) - assigned(before.mode)
		b.countMu.Unlock()
	}
	if len(fresh) > 0 {
		b.touched.Store(b.now().UnixNano())
	}
	return fresh, all
}

// assigned returns 1 if the mode is an assignment, otherwise 0.
func assigned(m Mode) int {
	if m == None {
		return 0
	}
	return 1
}

// count adds more records to the counts. countMu is held.
func (b *Book) count(host presence.HostName, more int) {
	b.total += more
	b.records[host] += more
	if b.records[host] == 0 {
		delete(b.records, host)
	}
}

// room reports whether the host has room for more records.
func (b *Book) room(host presence.HostName, more int) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.records[host]+more <= MaxOfHost && b.total+more <= maxRecords
}

// notify calls changed for applied records, once for each user.
func (b *Book) notify(records []Record) {
	channels := make(map[userKey][]string)
	for i := range records {
		k := userKey{records[i].Host, records[i].User}
		channels[k] = append(channels[k], records[i].Channel)
	}
	for k, list := range channels {
		b.changed(k.host, k.user, list)
	}
}
