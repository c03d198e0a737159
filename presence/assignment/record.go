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

// Record is the last that was said of a user and a channel. With the mode [None] the assignment was removed; it is kept for
// [Retention], so that pods that have not heard of it do not bring the assignment back.
type Record struct {
	Host    presence.HostName
	User    string
	Channel string
	Mode    Mode
	Version Version
}

// Version orders what was said of one user and channel: the later holds. Texts and modes of one version are always the
// same.
type Version struct {
	Clock uint64 // Unix time in milliseconds << clockBits, and a count; higher than all that its pod had seen
	Node  uint64 // of the run of the pod, for two of one clock
}

// clockBits is how many versions a millisecond has room for before clocks run ahead of the time.
const clockBits = 16

// MaxClock is the highest clock of a version. No pod gets there by itself before the year 6400.
const MaxClock = 1<<63 - 1

// Compare returns -1, 0 or 1 as v is before, the same as, or after w.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Clock, w.Clock), cmp.Compare(v.Node, w.Node))
}

// time is about when the version was made.
func (v Version) time() time.Time { return time.UnixMilli(int64(v.Clock >> clockBits)) }

// Retention is how long a removal is kept at least. A pod that was away for longer can bring back what was removed meanwhile.
const Retention = 30 * 24 * time.Hour

// SweepEvery is how often removals are forgotten: at each full hour, so that all pods do it together. If one still had
// what another has forgotten, their books would differ all the time, for as long as anything is removed.
const SweepEvery = time.Hour

// stale reports whether the record says only that something was removed, and so long ago that nobody keeps it.
func (r *Record) stale(now time.Time) bool {
	return r.Mode == None && r.Version.time().Before(now.Truncate(SweepEvery).Add(-Retention))
}
