package plugins

import (
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// admit asks the breaker of the hook, which is nearly always closed.
func (p *pool) admit(h Hook) (probe bool, f *fault) {
	if p.breakers[h].Closed() {
		return false, nil
	}
	probe, err := p.breakers[h].Admit()
	if err != nil {
		return false, &fault{ReasonBreaker, err}
	}
	return probe, nil
}

// decide calls classify or authorize and returns the guest's result.
func (p *pool) decide(h Hook, r *codec.Request) (int64, *fault) {
	probe, f := p.admit(h)
	if f != nil {
		return 0, p.recordFailure(h, f, false)
	}
	size, ok := r.Size()
	if !ok {
		return 0, p.recordFailure(h, faultf(ReasonTooLarge, "a text is longer than 65535 bytes"), probe)
	}
	s := p.claimHinted()
	if s == nil {
		if s, f = p.acquire(p.plugin.limits.ClassifyTimeout); f != nil {
			return 0, p.recordFailure(h, f, probe)
		}
		s.startCall(classShort)
	}
	p.watch()
	in := s.instance
	if size > len(in.input) {
		f = in.growInput(size)
	}
	if f == nil {
		r.Put(in.input)
		in.stack[0], in.stack[1] = uint64(in.inputPtr), uint64(size)
		if err := in.callHook(h); err != nil {
			f = &fault{ReasonTrap, newTrapError("", err)}
		}
	}
	result := int64(in.stack[0])
	if f == nil && (result < 0 || result > decisionBits || h == HookAuthorize && result > 1 ||
		Kind(result&decisionKind) > Denied || h == HookClassify && opensGranted(r, result)) {
		f = badDecision(h, result)
	}
	if f = p.finishCall(s, h, f, probe); f != nil {
		return 0, f
	}
	return result, nil
}

// Bits of the result of classify.
const (
	decisionKind      = 0xff
	decisionHidden    = 1 << 8
	decisionCountOnly = 1 << 9
	decisionGrant     = 1 << 10
	decisionBits      = decisionKind | decisionHidden | decisionCountOnly | decisionGrant
)

// opensGranted reports whether a plugin calls a channel anonymous that needs a grant by the
// patterns of the site.
func opensGranted(r *codec.Request, result int64) bool {
	return r.Flags&codec.FlagGranted != 0 && Kind(result&decisionKind) == Anonymous
}

func badDecision(h Hook, result int64) *fault {
	if result == -1 {
		return faultf(ReasonBadResult, "%s returned an error (-1)", hookExports[h])
	}
	return faultf(ReasonBadResult, "%s returned %#x, which the contract does not allow", hookExports[h], uint64(result))
}

// exchange is a call of members or shape.
type exchange struct {
	hook      Hook
	endpoint  Endpoint
	request   []byte // body of the request, for rollcall.request
	input     []byte
	budget    int64
	maxResult int // bytes
	// use receives the result in the guest's memory, valid until use returns. An error fails the
	// call.
	use func(result []byte) error
}

// transform makes the exchange. The wait for an instance is part of the timeout, except for
// HookMembersLive, for whose result nobody waits. It reports whether there was a result: without
// one, the guest changes nothing.
func (p *pool) transform(x *exchange) (changed bool, f *fault) {
	probe, f := p.admit(x.hook)
	if f != nil {
		return false, p.recordFailure(x.hook, f, false)
	}
	left, f := p.long.acquire(p.plugin.limits.ShapeTimeout)
	if f != nil {
		return false, p.recordFailure(x.hook, f, probe)
	}
	defer p.long.release()
	s := p.ownHinted()
	if s == nil {
		if s, f = p.acquire(left); f != nil {
			return false, p.recordFailure(x.hook, f, probe)
		}
	}
	class := classLong
	if x.hook == HookMembersLive {
		class = classLive
		s.waited.Store(0)
	} else if left < p.plugin.limits.ShapeTimeout {
		s.waited.Add(int64(p.plugin.limits.ShapeTimeout - left))
	}
	in := s.instance
	in.arm(x.budget)
	in.request = x.request
	s.startCall(class)
	p.watch()
	changed, f = in.exchange(x)
	in.request = nil
	if f = p.finishCall(s, x.hook, f, probe); f != nil {
		return false, f
	}
	return changed, nil
}

func (in *instance) exchange(x *exchange) (changed bool, f *fault) {
	if f := in.growInput(len(x.input)); f != nil {
		return false, f
	}
	in.stack[0], in.stack[1], in.stack[2] = uint64(x.endpoint), uint64(in.inputPtr), uint64(copy(in.input, x.input))
	if err := in.callHook(x.hook); err != nil {
		return false, &fault{ReasonTrap, newTrapError("", err)}
	}
	result := in.stack[0]
	switch result {
	case 0:
		return false, nil
	case 1<<64 - 1:
		return false, badDecision(x.hook, -1)
	}
	ptr, size := uint32(result>>32), uint32(result)
	view, ok := in.view(ptr, size)
	if !ok {
		return false, faultf(ReasonBadResult, "%s returned %s at %d, which is not in the memory of %d bytes",
			hookExports[x.hook], plural.Of(size, "byte"), ptr, in.linear.Size())
	}
	if len(view) > x.maxResult {
		return false, faultf(ReasonBadResult, "%s returned %s, at most %d are allowed",
			hookExports[x.hook], plural.Of(size, "byte"), x.maxResult)
	}
	if err := x.use(view); err != nil {
		return false, faultf(ReasonBadResult, "%s: %w", hookExports[x.hook], err)
	}
	return true, nil
}

// finishCall ends a call. It returns the instance to the pool if the call worked, and discards it
// otherwise.
func (p *pool) finishCall(s *slot, h Hook, f *fault, probe bool) *fault {
	s.countCall(h)
	ended := s.endCall()
	in := s.instance
	if f != nil {
		return p.discardFailed(s, h, f, ended, probe)
	}
	s.shard.add(h, in.rearm(p.plugin.limits.ClassifyBudget))
	var lines []guestLine
	if in.log.pending() {
		lines = in.log.drain(in)
	}
	in.log.tail = in.log.tail[:0]
	p.release(s)
	if probe {
		p.breakers[h].Reset(p.calls(h))
		p.logger.Info("plugin works again")
	}
	if lines != nil {
		p.logLines(lines)
	}
	return nil
}

func (p *pool) discardFailed(s *slot, h Hook, f *fault, ended, probe bool) *fault {
	in := s.instance
	if f.reason == ReasonTrap {
		f.reason = in.explain(f.err, h, ended)
	}
	lines := in.log.drain(in)
	if said := in.log.lastLines(); said != "" {
		f.err = fmt.Errorf("%w; the guest said: %s", f.err, said)
	}
	p.counters.restarts[reasonIndex(f.reason)].Add(1)
	p.discard(s)
	p.logLines(lines)
	f = p.recordFailure(h, f, probe)
	if p.breakers[h].Closed() {
		p.replace()
	}
	return f
}

// longCalls keeps calls of members and shape from occupying all instances of a pool. They may run
// for a quarter of a second, while a join waits only a few milliseconds for an instance. If there
// are two instances or more, one is always left for joins.
type longCalls chan struct{}

func newLongCalls(instances int) longCalls { return make(longCalls, max(1, instances-1)) }

// acquire waits for room for another call, for at most timeout. It returns the rest of timeout.
func (l longCalls) acquire(timeout time.Duration) (left time.Duration, f *fault) {
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
		return 0, faultf(ReasonBusy, "%s of members and shape still running after %v; raise instances",
			plural.Of(cap(l), "call"), timeout)
	}
}

func (l longCalls) release() { <-l }
