package plugins

import (
	"time"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

// longCalls keeps calls of members and shape from taking all instances of a pool. They may run for a quarter of a second,
// while a join waits for an instance for a few milliseconds only: one instance is always left to joins, if there are two.
type longCalls chan struct{}

func newLongCalls(instances int) longCalls { return make(longCalls, max(1, instances-1)) }

// enter waits for room for one more call, at most for timeout. It returns how much of that is left.
func (l longCalls) enter(timeout time.Duration) (left time.Duration, f *fault) {
	select {
	case l <- struct{}{}:
		return timeout, nil
	default:
	}
	start := time.Now()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case l <- struct{}{}:
		return max(0, timeout-time.Since(start)), nil
	case <-timer.C:
		return 0, faultf(ReasonBusy, "%s of members and shape under way for %v, which leaves room for joins only",
			plural.Of(cap(l), "call"), timeout)
	}
}

func (l longCalls) leave() { <-l }
