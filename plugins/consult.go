package plugins

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// ErrRefused is the error of a plugin that refuses a login or a message. It is a [*RefusedError].
var ErrRefused = errors.New("refused by a plugin")

// RefusedError is an ErrRefused that names the plugin.
type RefusedError struct{ Plugin string }

func (r *RefusedError) Error() string { return "refused by the plugin " + r.Plugin }

// Is reports whether target is ErrRefused.
func (r *RefusedError) Is(target error) bool { return target == ErrRefused }

// consultation is a call of connect or message.
type consultation struct {
	hook    Hook
	request *codec.Request // before the text, with its length; nil for connect
	text    []byte
	budget  int64
	room    int // most bytes of the result
	// check returns the error of a result in the guest's memory.
	check func(result []byte) error
}

// Results of connect and message that are no slice.
const (
	resultUnchanged = 0
	resultRefused   = 1
	leastSlice      = 1 << 32 // a slice does not begin at address 0
)

// consult makes the call. It returns a copy of the result; nil if the guest changes nothing.
func (p *pool) consult(x *consultation) (result []byte, refused bool, f *fault) {
	probe, f := p.admit(x.hook)
	if f != nil {
		return nil, false, p.recordFailure(x.hook, f, false)
	}
	size, ok := x.size()
	if !ok {
		return nil, false, p.recordFailure(x.hook, faultf(ReasonTooLarge, "a text is longer than 65535 bytes"), probe)
	}
	s, f := p.acquireFor(x.hook)
	if f != nil {
		return nil, false, p.recordFailure(x.hook, f, probe)
	}
	in := s.instance
	in.arm(x.budget)
	s.startCall(classLive)
	p.watch()
	result, refused, f = in.consult(x, size)
	if f = p.finishCall(s, x.hook, f, probe); f != nil {
		return nil, false, f
	}
	if refused {
		p.counters.refused[x.hook].Add(1)
	}
	return result, refused, nil
}

// size returns the size of the input, in bytes. It returns false if a text of the request is too
// long.
func (x *consultation) size() (int, bool) {
	if x.request == nil {
		return len(x.text), true
	}
	n, ok := x.request.Size()
	return 4 + n + len(x.text), ok
}

// put writes an input of the size.
func (x *consultation) put(dst []byte, size int) {
	if x.request != nil {
		n := size - 4 - len(x.text)
		binary.LittleEndian.PutUint32(dst, uint32(n))
		x.request.Put(dst[4:])
		dst = dst[4+n:]
	}
	copy(dst, x.text)
}

func (in *instance) consult(x *consultation, size int) (result []byte, refused bool, f *fault) {
	if f := in.growInput(size); f != nil {
		return nil, false, f
	}
	x.put(in.input, size)
	in.stack[0], in.stack[1] = uint64(in.inputPtr), uint64(size)
	if err := in.callHook(x.hook); err != nil {
		return nil, false, &fault{ReasonTrap, newTrapError("", err)}
	}
	value := in.stack[0]
	switch {
	case value == resultUnchanged, value == resultRefused:
		return nil, value == resultRefused, nil
	case value < leastSlice, int64(value) == -1:
		return nil, false, badDecision(x.hook, int64(value))
	}
	ptr, n := uint32(value>>32), uint32(value)
	view, ok := in.view(ptr, n)
	if !ok {
		return nil, false, faultf(ReasonBadResult, "%s returned %s at %d, which is not in the memory of %d bytes",
			hookExports[x.hook], plural.Of(n, "byte"), ptr, in.linear.Size())
	}
	if len(view) > x.room {
		return nil, false, faultf(ReasonBadResult, "%s returned %s, at most %d are allowed",
			hookExports[x.hook], plural.Of(n, "byte"), x.room)
	}
	if err := x.check(view); err != nil {
		return nil, false, faultf(ReasonBadResult, "%s: %w", hookExports[x.hook], err)
	}
	return bytes.Clone(view), false, nil
}

// acquireFor returns a slot for a call of connect or message, owned by the caller. The wait of a
// message is a part of the timeout. A login waits longer, before the timeout begins: with two
// instances, one serves all logins, and a crowd that returns would be refused.
func (p *pool) acquireFor(h Hook) (*slot, *fault) {
	if h == HookConnect {
		return p.acquireSpare(p.plugin.limits.ShapeTimeout)
	}
	if s := p.ownHinted(); s != nil {
		return s, nil
	}
	return p.acquire(p.plugin.limits.MessageTimeout)
}

// sparePoll is how often acquireSpare looks for an instance. It does not wait like acquire, because
// it would take the signals of joins.
const sparePoll = time.Millisecond

// maxPolling is the maximum number of logins that look at the same time. A crowd of them would use
// a processor for nothing.
const maxPolling = 16

// acquireSpare is acquire, except that it leaves the last free instance to other calls, and that
// the wait does not count as a part of the call: strangers can open connections, and joins must not
// wait for them. A plugin with one instance has none to leave.
func (p *pool) acquireSpare(timeout time.Duration) (*slot, *fault) {
	busy := func() *fault {
		return faultf(ReasonBusy, "no instance became free within %v, with another one left for joins; the limit is %s",
			timeout, plural.Of(len(p.slots), "instance"))
	}
	if s, f := p.trySpare(); s != nil || f != nil {
		return s, f
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case p.polling <- struct{}{}:
		defer func() { <-p.polling }()
	case <-late.C:
		return nil, busy()
	}
	for last := false; ; {
		s, f := p.trySpare()
		switch {
		case s != nil || f != nil:
			return s, f
		case last:
			return nil, busy()
		}
		select {
		case <-late.C:
			last = true
		case <-time.After(sparePoll):
		}
	}
}

// trySpare takes an instance if another one remains; nil if not.
func (p *pool) trySpare() (*slot, *fault) {
	if !p.hasSpare(nil) {
		return nil, nil
	}
	s, f := p.tryAcquire(context.Background())
	if s == nil || f != nil || p.hasSpare(s) {
		return s, f
	}
	p.freeSlot(s, slotIdle) // others have taken the rest meanwhile
	return nil, nil
}

// hasSpare reports whether an instance is free, or can be made, in addition to the one in the slot
// taken; if that is nil, in addition to one that is to be taken.
func (p *pool) hasSpare(taken *slot) bool {
	want := min(2, len(p.slots))
	if taken != nil {
		want--
	}
	for i := range p.slots {
		s := p.slots[i].Load()
		if s == taken && s != nil {
			continue
		}
		if s == nil || s.status() == slotIdle || s.status() == slotEmpty {
			want--
		}
	}
	return want <= 0
}
