package replication

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// maxAssembly limits the incomplete deltas of one pod, in bytes.
	maxAssembly = 64 << 20
	// assemblyTime is how long a delta waits for missing parts.
	assemblyTime = 10 * time.Second
)

// assembler joins the parts of one pod's deltas. Parts can be lost, repeated or out of order.
type assembler struct {
	open  map[place]*assembly
	bytes int
}

// assembly is an incomplete delta.
type assembly struct {
	clock uint64
	parts []*message.Delta
	left  int // number of missing parts
	bytes int
	began time.Time
}

func newAssembler() *assembler { return &assembler{open: make(map[place]*assembly)} }

// add adds a part. With the last missing part, it returns the whole delta.
//
// Parts with the same Clock belong to one delta, whenever they were sent: a pod always divides its
// part of a channel in the same way.
func (a *assembler) add(now time.Time, p place, m *message.Delta) (presence.Delta, bool) {
	o := a.open[p]
	if o != nil && m.Clock < o.clock {
		return presence.Delta{}, false
	}
	if o == nil || m.Clock > o.clock || len(o.parts) != int(m.Parts) {
		a.drop(p)
		o = &assembly{clock: m.Clock, parts: make([]*message.Delta, m.Parts), left: int(m.Parts), began: now}
		a.open[p] = o
	}
	if o.parts[m.Part] != nil {
		return presence.Delta{}, false
	}
	size := memorySize(m)
	if o.bytes == 0 {
		size += len(o.parts) * 8
	}
	if a.bytes+size > maxAssembly {
		a.drop(p) // the next check requests it again
		return presence.Delta{}, false
	}
	o.parts[m.Part] = m
	o.left--
	o.bytes += size
	a.bytes += size
	if o.left > 0 {
		return presence.Delta{}, false
	}
	a.drop(p)
	return o.whole(), true
}

// whole joins the lists. The numbers are the same in all parts.
func (o *assembly) whole() presence.Delta {
	d := o.parts[0].Delta
	joined, left := 0, 0
	for _, part := range o.parts {
		joined += len(part.Joined)
		left += len(part.Left)
	}
	d.Joined, d.Left = make([]presence.Member, 0, joined), make([]presence.Departure, 0, left)
	for _, part := range o.parts {
		d.Joined = append(d.Joined, part.Joined...)
		d.Left = append(d.Left, part.Left...)
	}
	return d
}

// drop drops the incomplete delta of a channel, if there is one.
func (a *assembler) drop(p place) {
	if o := a.open[p]; o != nil {
		a.bytes -= o.bytes
		delete(a.open, p)
	}
}

// expire drops the deltas that have waited for assemblyTime.
func (a *assembler) expire(now time.Time) {
	for p, o := range a.open {
		if now.Sub(o.began) >= assemblyTime {
			a.drop(p)
		}
	}
}
