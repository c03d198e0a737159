package assignment

import (
	"cmp"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Assignment is one channel that a user is assigned to.
type Assignment struct {
	Channel string
	Mode    Mode
}

// Record is the last change for a user and a channel. With the mode [None], it is a removal.
// Removals are kept for [Retention], so that pods that have missed them do not restore the
// assignment.
//
// A record without a channel is a wipe: it removes all earlier assignments of the user, also those
// that its pod has not received.
//
// Records of other kinds have a Value instead of a channel and a mode, see [Kind].
type Record struct {
	Host    presence.HostName
	User    string
	Channel string // empty in a wipe
	Mode    Mode
	// Blind is set in a removal of which its pod had no record. It is kept for [BlindRetention].
	Blind   bool
	Kind    Kind
	Version Version

	// Value is what the record says, and Until when it ends, in Unix milliseconds. Both are 0 in an
	// assignment.
	Value, Until uint64
	// Local is the part of Value that applies on this pod, see [Book.Revoke]. Pods do not exchange
	// it.
	Local uint64
}

// wipe reports whether the record removes all earlier assignments of the user.
func (r *Record) wipe() bool { return r.Kind == KindAssignment && r.Channel == "" }

// Merge returns what a store keeps of two records of one kind, host, user and channel. The result
// does not depend on their order.
func (r Record) Merge(other Record) Record {
	if r.Kind == KindAssignment {
		if other.Version.Compare(r.Version) > 0 {
			return other
		}
		return r
	}
	merged := valueOf(&r).merge(valueOf(&other), r.Kind)
	return merged.record(valueKey{userKey{r.Host, r.User}, r.Kind})
}

// Version orders the records of one user and channel: the later one applies. Records with equal
// versions are equal.
type Version struct {
	Clock uint64 // Unix time in milliseconds << clockBits, plus a count; higher than all clocks that the pod had seen
	Node  uint64 // distinguishes pods, if two records have the same clock
}

// clockBits leaves room for 65,536 versions in a millisecond before clocks run ahead of the time.
const clockBits = 16

// MaxClock is the highest clock of a version. By the time alone, it is reached after the year 6400.
const MaxClock = 1<<63 - 1

// Compare returns -1 if v is before w, 0 if they are equal, and 1 otherwise.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Clock, w.Clock), cmp.Compare(v.Node, w.Node))
}

// time returns the approximate time of the version.
func (v Version) time() time.Time { return time.UnixMilli(int64(v.Clock >> clockBits)) }

// Minimum times for which removals are kept. A pod that was away for longer can restore assignments
// that were removed meanwhile.
const (
	Retention      = 30 * 24 * time.Hour
	BlindRetention = 24 * time.Hour // of blind removals
)

// SweepEvery is the interval at which removals are dropped: at each full hour, so that all pods
// drop them together. Otherwise their books would always differ.
const SweepEvery = time.Hour

// stale reports whether the record is a removal that is older than its retention, or has ended in
// another hour.
func (r *Record) stale(now time.Time) bool {
	if r.Kind != KindAssignment {
		return r.Until < unixMilli(now.Truncate(SweepEvery))
	}
	retention := Retention
	if r.Blind {
		retention = BlindRetention
	}
	return r.Mode == None && r.Version.time().Before(now.Truncate(SweepEvery).Add(-retention))
}
