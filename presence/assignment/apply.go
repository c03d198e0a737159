package assignment

import (
	"github.com/rollcall-gateway/rollcall/presence"
)

// apply takes over the records that are later than what the book has, and returns them. Bounded leaves out those that there
// is no room for, and then tells that these are not all; what this pod has kept already is not for leaving out.
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
		b.see(r.Version)
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

// assigned is 1 for a mode that is an assignment.
func assigned(m Mode) int {
	if m == None {
		return 0
	}
	return 1
}

// count counts so many records more. countMu is held.
func (b *Book) count(host presence.HostName, more int) {
	b.total += more
	b.records[host] += more
	if b.records[host] == 0 {
		delete(b.records, host)
	}
}

// room reports whether the host has room for that number of further records.
func (b *Book) room(host presence.HostName, more int) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.records[host]+more <= MaxOfHost && b.total+more <= maxRecords
}

// tell tells of records that were taken over, once for each user.
func (b *Book) tell(records []Record) {
	channels := make(map[userKey][]string)
	for i := range records {
		k := userKey{records[i].Host, records[i].User}
		channels[k] = append(channels[k], records[i].Channel)
	}
	for k, list := range channels {
		b.changed(k.host, k.user, list)
	}
}
