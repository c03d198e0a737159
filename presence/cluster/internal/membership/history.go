package membership

import (
	"slices"
	"sort"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
)

// history has the numbers of a pod's heartbeats with their times, for link.MaxAge.
type history []heard

type heard struct {
	at  time.Time
	seq uint64
}

// historyStep is the minimum time between two entries.
const historyStep = 500 * time.Millisecond

// add adds a heartbeat. Numbers and times grow.
func (h *history) add(at time.Time, seq uint64) {
	if n := len(*h); n > 1 && at.Sub((*h)[n-2].at) < historyStep {
		(*h)[n-1] = heard{at, seq} // replace the last entry, which stands for the time since
		return
	}
	*h = append(*h, heard{at, seq})
	if len(*h) > 1 && at.Sub((*h)[1].at) >= link.MaxAge {
		*h = slices.Delete(*h, 0, 1)
	}
}

// until returns the last number that arrived by then, or the first one that is known.
func (h history) until(then time.Time) uint64 {
	i := sort.Search(len(h), func(i int) bool { return h[i].at.After(then) })
	return h[max(0, i-1)].seq
}
