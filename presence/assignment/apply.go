package assignment

// apply applies the records that are later than those in the book. It returns them, and the
// channels whose assignments have changed. If bounded is set, it leaves out new records without
// room, and then all is false.
func (b *Book) apply(records []Record, bounded bool) (fresh []Record, changes []change, all bool) {
	all = true
	for i := range records {
		r := &records[i]
		p := b.shard(r.Host, r.User).put(r, func() bool { return !bounded || b.room(r, 1) })
		if p.full {
			all = false
		}
		if !p.applied {
			continue
		}
		b.advanceClock(r.Version)
		fresh = append(fresh, *r)
		k := userKey{r.Host, r.User}
		c := change{userKey: k, channels: make([]string, 0, 1+len(p.covered)), covered: p.covered}
		if !r.wipe() && (r.Mode != None || p.before.mode != None) {
			c.channels = append(c.channels, r.Channel)
		}
		b.countMu.Lock()
		if p.known {
			b.count(k, p.before, -1)
		}
		b.count(k, entry{channel: r.Channel, mode: r.Mode, blind: r.Blind}, 1)
		for _, e := range p.covered {
			b.count(k, e, -1)
			if e.mode != None {
				c.channels = append(c.channels, e.channel)
			}
		}
		b.countMu.Unlock()
		changes = append(changes, c)
	}
	if len(fresh) > 0 {
		b.touched.Store(b.now().UnixNano())
	}
	return fresh, changes, all
}

// change has the channels of a user that a record has changed.
type change struct {
	userKey
	channels []string
	covered  []entry // entries that a wipe has removed
}

// count adds n to the counts of the entry. countMu is held.
func (b *Book) count(k userKey, e entry, n int) {
	if e.mode != None {
		b.assigned += n
	}
	kept := &b.kept
	if e.blind {
		kept = &b.blind
	}
	kept.total += n
	kept.hosts[k.host] += n
	if kept.hosts[k.host] == 0 {
		delete(kept.hosts, k.host)
	}
}

// room reports whether the host of the record has room for n more records of its kind.
func (b *Book) room(r *Record, n int) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if r.Blind {
		return b.blind.hosts[r.Host]+n <= MaxBlindOfHost && b.blind.total+n <= maxBlind
	}
	return b.kept.hosts[r.Host]+n <= MaxOfHost && b.kept.total+n <= maxRecords
}

// notify calls changed for applied records, once for each user.
func (b *Book) notify(changes []change) {
	channels := make(map[userKey][]string)
	for _, c := range changes {
		channels[c.userKey] = append(channels[c.userKey], c.channels...)
	}
	for k, list := range channels {
		if len(list) > 0 {
			b.changed(k.host, k.user, list)
		}
	}
}
