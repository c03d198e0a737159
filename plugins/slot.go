package plugins

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// slot is a place for an instance in a pool. Its state is one word: the number of the call, the class of its timeout
// and the status. Who changes an idle or empty slot to another status owns the instance until it sets the slot to idle
// or empty; nobody else touches the instance, but for the watchdog, which looks at the steps of a call, and ends it by
// taking them away.
type slot struct {
	_        [64]byte
	state    atomic.Uint64
	instance *instance // the owner's
	shard    *counterShard
	number   int
	_        [64]byte

	// steps is the global that the watchdog sets; nil while there is no instance.
	steps atomic.Pointer[api.MutableGlobal]
	// memory is the memory of the instance, for reports; nil while there is no instance.
	memory atomic.Pointer[memory.Linear]
	// waited is the part of the call's time that went by before it got the slot, in nanoseconds.
	waited atomic.Int64

	// sampled, left and age are the watchdog's: the call that it saw last, the steps which that had left, and how long it
	// has been under way.
	sampled uint64
	left    uint64
	age     time.Duration
	// swept and unused are the janitor's: the state that it saw last, and since when.
	swept  uint64
	unused time.Time

	// making is the context of the making of the instance, which the watchdog ends with it; otherwise nil.
	making atomic.Pointer[context.Context]
}

// The status of a slot. A slot that is owned is not in a call: its owner makes or closes the instance.
const (
	slotEmpty uint64 = iota
	slotIdle
	slotOwned
	slotBusy  // in a call
	slotHeld  // in a call, the watchdog is at its steps
	slotEnded // in a call whose steps are taken away

	slotStatus = 7
)

// The class of a call says which timeout it has.
const (
	classShort uint64 = iota << 3
	classLong
	classInit

	slotClass = 3 << 3
	slotCall  = 1 << 5 // counts calls
)

func (s *slot) status() uint64 { return s.state.Load() & slotStatus }

// calls is the number of calls so far.
func (s *slot) calls() uint64 { return s.state.Load() / slotCall }

// take makes an idle slot busy with a call of the class short, for which idle instances are armed.
func (s *slot) take() bool {
	w := s.state.Load()
	return w&slotStatus == slotIdle && s.state.CompareAndSwap(w, w&^(slotStatus|slotClass)+slotCall|slotBusy)
}

// own takes an idle or empty slot out of use.
func (s *slot) own(from uint64) bool {
	w := s.state.Load()
	return w&slotStatus == from && s.state.CompareAndSwap(w, w&^(slotStatus|slotClass)|slotOwned)
}

// begin starts a call; the owner has armed the instance. Making an instance is no call that counts.
func (s *slot) begin(class uint64) {
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

// end ends the call, after which the watchdog leaves the instance alone. It reports whether the watchdog ended it.
func (s *slot) end() bool {
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

// leave gives up an owned slot, as idle or empty.
func (s *slot) leave(status uint64) {
	s.state.Store(s.state.Load()&^(slotStatus|slotClass) | status)
}

// stop takes away the steps of the call that the watchdog saw. It does nothing when that call is over.
func (s *slot) stop(seen uint64) {
	s.hold(seen, seen&^slotStatus|slotEnded, func(steps api.MutableGlobal) { steps.Set(0) })
}

// look reports whether the call that the watchdog saw took any step since it last looked, as far as can be told: a guest
// takes its steps in slices, and only whole slices are seen.
func (s *slot) look(seen uint64) (ran bool) {
	s.hold(seen, seen, func(steps api.MutableGlobal) {
		left := steps.Get()
		s.left, ran = left, left != s.left
	})
	return ran
}

// hold lets the watchdog at the steps of a call, and leaves the call in the state after. The owner, who uses the steps
// before and after a call, waits for that; the guest does not, and may be using them.
func (s *slot) hold(seen, after uint64, f func(steps api.MutableGlobal)) {
	if !s.state.CompareAndSwap(seen, seen&^slotStatus|slotHeld) {
		return
	}
	if steps := s.steps.Load(); steps != nil {
		f(*steps)
	}
	s.state.Store(after)
}
