package assignment

import "github.com/rollcall-gateway/rollcall/presence"

// applied is a record that a book has applied.
type applied struct {
	Record
	changed bool    // the mode of its channel may have changed
	raised  bool    // it has a greater value than before
	tie     bool    // another pod had set the same value
	covered []entry // entries that it has removed, as a wipe
}

// apply applies the records that are later than those in the book, and returns them. If bounded is
// set, it leaves out new records without room, and then all is false.
func (b *Book) apply(records []Record, bounded bool) (fresh []applied, all bool) {
	all = true
	for i := range records {
		r := &records[i]
		if r.Kind != KindAssignment {
			merged, changed, full := b.applyValue(r, bounded)
			if changed {
				fresh = append(fresh, merged)
			} else if merged.tie && b.onValue[r.Kind] != nil {
				b.onValue[r.Kind](&merged)
			}
			all = all && !full
			continue
		}
		p := b.shard(r.Host, r.User).put(r, func() bool { return !bounded || b.room(r, 1) })
		if p.full {
			all = false
		}
		if !p.applied {
			continue
		}
		b.advanceClock(r.Version)
		fresh = append(fresh, applied{Record: *r, changed: !r.wipe() && (r.Mode != None || p.before.mode != None), covered: p.covered})
		k := userKey{r.Host, r.User}
		b.countMu.Lock()
		if p.known {
			b.count(k, p.before, -1)
		}
		b.count(k, entry{channel: r.Channel, mode: r.Mode, blind: r.Blind}, 1)
		more := 1 - len(p.covered)
		if p.known {
			more--
		}
		for _, e := range p.covered {
			b.count(k, e, -1)
		}
		b.tally(r.Host, p.sum, more)
		b.countMu.Unlock()
	}
	if len(fresh) > 0 {
		b.touched.Store(b.now().UnixNano())
	}
	return fresh, all
}

// count adds n to the counts of the entry, an assignment or a removal. countMu is held.
func (b *Book) count(k userKey, e entry, n int) {
	if e.mode != None {
		b.assigned += n
	}
	kept := &b.kept
	if e.blind {
		kept = &b.blind
	}
	kept.add(k.host, n)
}

// room reports whether the host of the record has room for n more records of its kind.
func (b *Book) room(r *Record, n int) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if limit := valueLimits[r.Kind]; r.Kind != KindAssignment {
		return b.values[r.Kind].hosts[r.Host]+n <= limit.host && b.values[r.Kind].total+n <= limit.total
	}
	if r.Blind {
		return b.blind.hosts[r.Host]+n <= MaxBlindOfHost && b.blind.total+n <= maxBlind
	}
	return b.kept.hosts[r.Host]+n <= MaxOfHost && b.kept.total+n <= maxRecords
}

// notify calls removed for applied removals, changed once for each user whose assignments may have
// changed, and the functions of other kinds for raised values.
func (b *Book) notify(fresh []applied) {
	for i := range fresh {
		if r := &fresh[i]; (r.raised || r.tie) && b.onValue[r.Kind] != nil {
			b.onValue[r.Kind](r)
		}
	}
	removals := make([]Record, 0, len(fresh))
	for i := range fresh {
		removals = append(removals, fresh[i].Record)
	}
	b.notifyRemoved(removals)
	channels := make(map[userKey][]string)
	for i := range fresh {
		r := &fresh[i]
		k := userKey{r.Host, r.User}
		if r.changed {
			channels[k] = append(channels[k], r.Channel)
		}
		for _, e := range r.covered {
			if e.mode != None {
				channels[k] = append(channels[k], e.channel)
			}
		}
	}
	for k, list := range channels {
		b.changed(k.host, k.user, list)
	}
}

// notifyRemoved calls removed for those of the records that are removals.
func (b *Book) notifyRemoved(records []Record) {
	users := make(map[presence.HostName][]string)
	for i := range records {
		if r := &records[i]; r.Kind == KindAssignment && r.Mode == None {
			users[r.Host] = append(users[r.Host], r.User)
		}
	}
	for host, list := range users {
		b.removed(host, list)
	}
}
