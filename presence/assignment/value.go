package assignment

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Kind is what a record says. Records of other kinds than [KindAssignment] have values that only
// grow: of two revocations of one user, the greater of each field applies. Of two epochs of one
// shard, the greater one applies, and of equal ones the later version.
type Kind uint8

// Kinds of records.
const (
	// KindAssignment is an assignment, or the removal of one or of all.
	KindAssignment Kind = iota
	// KindRevocation refuses tokens of the user, see [Book.Revoke].
	KindRevocation
	// KindEpoch has the epoch of a shard of events, see [Book.SetEpoch].
	KindEpoch

	kinds
)

// Limits of the records of other kinds, which never take the room of an assignment.
const (
	// MaxRevokedOfHost limits the revocations of a host. They count until the full hour after their
	// end.
	MaxRevokedOfHost = 100_000

	maxRevoked = 1 << 21 // of all hosts, because other pods can name any host
	maxEpochs  = 1 << 20 // of all hosts
)

var valueLimits = [kinds]struct{ host, total int }{
	KindRevocation: {MaxRevokedOfHost, maxRevoked},
	KindEpoch:      {EpochShards, maxEpochs},
}

// maxValue is the highest value and time: JSON numbers are exact up to it (RFC 8259 section 6).
const maxValue = 1<<53 - 1

type valueKey struct {
	userKey
	kind Kind
}

// value is a record of another kind without its name.
type value struct {
	version             Version
	value, until, local uint64
}

func valueOf(r *Record) value { return value{r.Version, r.Value, r.Until, r.Local} }

func (v value) record(k valueKey) Record {
	return Record{
		Host: k.host, User: k.user, Kind: k.kind, Version: v.version, Value: v.value, Until: v.until, Local: v.local,
	}
}

// merge returns what applies of two values of one kind. If only local would differ, it returns v.
func (v value) merge(w value, kind Kind) value {
	if kind == KindEpoch {
		if w.value > v.value || w.value == v.value && w.version.Compare(v.version) > 0 {
			return w
		}
		return v
	}
	m := value{v.version, max(v.value, w.value), max(v.until, w.until), v.local}
	if w.version.Compare(v.version) > 0 {
		m.version = w.version
	}
	if m != v {
		m.local = max(v.local, w.local)
	}
	return m
}

// validValue reports whether the fields of a record of another kind are valid.
func (r *Record) validValue() bool {
	if r.Kind == KindEpoch {
		if _, ok := shardOf(r.User); !ok {
			return false
		}
	}
	return r.Kind < kinds && !r.Host.IsZero() && r.Channel == "" && r.Mode == None && !r.Blind &&
		r.Version.Clock <= MaxClock && max(r.Value, r.Until, r.Local) <= maxValue && presence.CheckUserID(r.User) == nil
}

// applyValue merges a record of another kind with the present one, and returns the result. Of a
// record from another pod, it decides which part of the value applies here. If the record changes
// nothing, the result is the record itself. full is set if bounded is, and there is no room for a
// new record.
func (b *Book) applyValue(r *Record, bounded bool) (merged applied, ok, full bool) {
	if r.Local == 0 {
		r.Local = b.local(r)
	}
	k := valueKey{userKey{r.Host, r.User}, r.Kind}
	s := b.shard(r.Host, r.User)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.values[k]
	v, sum := valueOf(r), uint64(0)
	tie := known && v.value == old.value && v.version.Node != old.version.Node
	switch {
	case known:
		if v = old.merge(v, r.Kind); v == old {
			return applied{Record: *r, tie: tie}, false, false
		}
		before := old.record(k)
		sum = sumOf(&before)
	case bounded && !b.room(r, 1):
		return applied{}, false, true
	case s.values == nil:
		s.values = make(map[valueKey]value)
	}
	s.values[k] = v
	merged = applied{Record: v.record(k), raised: v.value > old.value || v.local > old.local, tie: tie}
	sum ^= sumOf(&merged.Record)
	s.sum ^= sum
	b.advanceClock(r.Version)
	more := 0
	if !known {
		more = 1
	}
	b.countMu.Lock()
	b.values[k.kind].add(r.Host, more)
	b.tally(r.Host, sum, more)
	b.countMu.Unlock()
	return merged, true, false
}

// valueOf returns the record of another kind for the user.
func (b *Book) valueOf(host presence.HostName, user string, kind Kind) (v value, known bool) {
	s := b.shard(host, user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, known = s.values[valueKey{userKey{host, user}, kind}]
	return v, known
}

// sweepValues drops records of other kinds that have ended, and returns them. mu is held.
func (s *shard) sweepValues(now time.Time) (gone []Record) {
	for k, v := range s.values {
		r := v.record(k)
		if r.stale(now) {
			gone = append(gone, r)
			s.sum ^= sumOf(&r)
			delete(s.values, k)
		}
	}
	return gone
}
