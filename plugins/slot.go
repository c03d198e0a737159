package plugins

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// slot is a place for an instance in a pool. Its state is one word: call number, class of the
// timeout, status. The goroutine that moves a slot out of the status idle or empty owns the
// instance until it sets one of these again. Only the watchdog touches the instance besides the
// owner: it reads the steps of a call, and ends the call by setting them to zero.
type slot struct {
	_        [64]byte
	state    atomic.Uint64
	instance *instance // for the owner only
	shard    *counterShard
	number   int
	_        [64]byte

	// others counts the calls of each hook except HookClassify, the cheapest, whose calls are the
	// rest of those in state.
	others [hookCount]atomic.Uint64

	// steps is the global that the watchdog sets; nil while there is no instance.
	steps atomic.Pointer[api.MutableGlobal]
	// memory is the memory of the instance, for reports; nil while there is no instance.
	memory atomic.Pointer[memory.Linear]
	// waited is how long the call waited for the slot, in nanoseconds.
	waited atomic.Int64

	// sampled, left and age belong to the watchdog: the call that it saw last, the steps that the
	// call had left, and its age.
	sampled uint64
	left    uint64
	age     time.Duration
	// used is when the watchdog saw the last new call, in nanoseconds since 1970. measured is the
	// number of calls when the memory was measured.
	used     atomic.Int64
	measured atomic.Uint64
	// next is the instance to replace the present one, or nil, see pool.install.
	next atomic.Pointer[instance]

	// making is the context of the making of the instance, nil at other times. When it ends, the
	// watchdog ends the making.
	making atomic.Pointer[context.Context]
}

// Status of a slot. An owned slot is not in a call: its owner makes or closes the instance.
const (
	slotEmpty uint64 = iota
	slotIdle
	slotOwned
	slotBusy  // in a call
	slotHeld  // in a call; the watchdog accesses its steps
	slotEnded // in a call whose steps were set to zero

	slotStatus = 7
)

// Class of a call, which decides its timeout.
const (
	classShort uint64 = iota << 3
	classLong
	classInit
	classLive

	slotClass = 3 << 3
	slotCall  = 1 << 5 // one call
)

func (s *slot) status() uint64 { return s.state.Load() & slotStatus }

// calls returns the number of calls so far.
func (s *slot) calls() uint64 { return s.state.Load() / slotCall }

// countCall counts a call of the hook. The owner calls it before the call ends.
func (s *slot) countCall(h Hook) {
	if h != HookClassify {
		s.others[h].Add(1)
	}
}

// callsOf returns the number of calls of the hook so far. A running call may count for
// HookClassify.
func (s *slot) callsOf(h Hook) uint64 {
	if h != HookClassify {
		return s.others[h].Load()
	}
	others := uint64(0)
	for i := range s.others {
		others += s.others[i].Load()
	}
	return max(others, s.calls()) - others
}

// claim makes an idle slot busy with a short call. Idle instances are armed for short calls.
func (s *slot) claim() bool {
	w := s.state.Load()
	return w&slotStatus == slotIdle && s.state.CompareAndSwap(w, w&^(slotStatus|slotClass)+slotCall|slotBusy)
}

// own takes an idle or empty slot out of use.
func (s *slot) own(from uint64) bool {
	w := s.state.Load()
	return w&slotStatus == from && s.state.CompareAndSwap(w, w&^(slotStatus|slotClass)|slotOwned)
}

// startCall starts a call; the owner has armed the instance. Making an instance does not count as a
// call.
func (s *slot) startCall(class uint64) {
	w := s.state.Load()&^(slotStatus|slotClass) | class | slotBusy
	if class != classInit {
		w += slotCall
	}
	s.state.Store(w)
}

// calledOff reports whether the instance is being made for a caller that no longer wants it.
func (s *slot) calledOff() bool {
	ctx := s.making.Load()
	return ctx != nil && (*ctx).Err() != nil
}

// endCall ends the call; the watchdog then leaves the instance alone. It reports whether the
// watchdog ended the call.
func (s *slot) endCall() bool {
	for {
		w := s.state.Load()
		if status := w & slotStatus; status != slotHeld {
			if s.state.CompareAndSwap(w, w&^slotStatus|slotOwned) {
				return status == slotEnded
			}
			continue
		}
		runtime.Gosched()
	}
}

// free gives up an owned slot, as idle or empty.
func (s *slot) free(status uint64) {
	s.state.Store(s.state.Load()&^(slotStatus|slotClass) | status)
}

// stopCall sets the steps of the call that the watchdog saw to zero. It does nothing if that call
// has ended.
func (s *slot) stopCall(seen uint64) {
	s.withSteps(seen, seen&^slotStatus|slotEnded, func(steps api.MutableGlobal) { steps.Set(0) })
}

// sampleSteps reports whether the call that the watchdog saw has used steps since the last sample.
// A guest takes its steps in slices, and only whole slices are seen.
func (s *slot) sampleSteps(seen uint64) (ran bool) {
	s.withSteps(seen, seen, func(steps api.MutableGlobal) {
		left := steps.Get()
		s.left, ran = left, left != s.left
	})
	return ran
}

// withSteps gives the watchdog access to the steps of a call, and leaves the slot in the state
// after. The owner, which uses the steps before and after a call, waits for that. The guest does
// not wait, and may be using them.
func (s *slot) withSteps(seen, after uint64, f func(steps api.MutableGlobal)) {
	if !s.state.CompareAndSwap(seen, seen&^slotStatus|slotHeld) {
		return
	}
	if steps := s.steps.Load(); steps != nil {
		f(*steps)
	}
	s.state.Store(after)
}
