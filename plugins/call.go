package plugins

import (
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// admit asks the breaker. Nearly always it is closed.
func (p *pool) admit() (probe bool, f *fault) {
	if p.breaker.Closed() {
		return false, nil
	}
	probe, err := p.breaker.Admit()
	if err != nil {
		return false, &fault{ReasonBreaker, err}
	}
	return probe, nil
}

// decide calls classify or authorize, and returns what the guest returned.
func (p *pool) decide(h Hook, r *codec.Request) (int64, *fault) {
	probe, f := p.admit()
	if f != nil {
		return 0, p.failed(h, f, false)
	}
	size, ok := r.Size()
	if !ok {
		return 0, p.failed(h, faultf(ReasonTooLarge, "a text is longer than 65535 bytes"), probe)
	}
	s := p.takeHinted()
	if s == nil {
		if s, f = p.acquire(p.plugin.limits.ClassifyTimeout); f != nil {
			return 0, p.failed(h, f, probe)
		}
		s.begin(classShort)
	}
	p.watch()
	in := s.instance
	if size > len(in.input) {
		f = in.makeRoom(size)
	}
	if f == nil {
		r.Put(in.input)
		in.stack[0], in.stack[1] = uint64(in.inputPtr), uint64(size)
		if err := in.callGuest(in.hooks[h]); err != nil {
			f = &fault{ReasonTrap, trapped("", err)}
		}
	}
	result := int64(in.stack[0])
	if f == nil && (result < 0 || result > decisionBits || h == HookAuthorize && result > 1 ||
		Kind(result&decisionKind) > Denied) {
		f = badDecision(h, result)
	}
	if f = p.finish(s, h, f, probe); f != nil {
		return 0, f
	}
	return result, nil
}

// The bits of the result of classify.
const (
	decisionKind      = 0xff
	decisionHidden    = 1 << 8
	decisionCountOnly = 1 << 9
	decisionBits      = decisionKind | decisionHidden | decisionCountOnly
)

func badDecision(h Hook, result int64) *fault {
	if result == -1 {
		return faultf(ReasonBadResult, "%s returned an error (-1)", hookExports[h])
	}
	return faultf(ReasonBadResult, "%s returned %#x, which the contract does not allow", hookExports[h], uint64(result))
}

// exchange is a call of members or shape.
type exchange struct {
	hook     Hook
	endpoint Endpoint
	request  []byte // for rollcall.request
	input    []byte
	budget   int64
	most     int // bytes of the result
	// take gets the result, in the memory of the guest: it is valid until take returns. An error fails the call.
	take func(result []byte) error
}

// transform makes the exchange. It reports whether there was a result: without one the guest changes nothing.
func (p *pool) transform(x *exchange) (changed bool, f *fault) {
	probe, f := p.admit()
	if f != nil {
		return false, p.failed(x.hook, f, false)
	}
	left, f := p.long.enter(p.plugin.limits.ShapeTimeout)
	if f != nil {
		return false, p.failed(x.hook, f, probe)
	}
	defer p.long.leave()
	s := p.ownHinted()
	if s == nil {
		if s, f = p.acquire(left); f != nil {
			return false, p.failed(x.hook, f, probe)
		}
	}
	if left < p.plugin.limits.ShapeTimeout {
		s.waited.Add(int64(p.plugin.limits.ShapeTimeout - left))
	}
	in := s.instance
	in.arm(x.budget)
	in.request = x.request
	s.begin(classLong)
	p.watch()
	changed, f = in.exchange(x)
	in.request = nil
	if f = p.finish(s, x.hook, f, probe); f != nil {
		return false, f
	}
	return changed, nil
}

func (in *instance) exchange(x *exchange) (changed bool, f *fault) {
	if f := in.makeRoom(len(x.input)); f != nil {
		return false, f
	}
	in.stack[0], in.stack[1], in.stack[2] = uint64(x.endpoint), uint64(in.inputPtr), uint64(copy(in.input, x.input))
	if err := in.callGuest(in.hooks[x.hook]); err != nil {
		return false, &fault{ReasonTrap, trapped("", err)}
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
	if len(view) > x.most {
		return false, faultf(ReasonBadResult, "%s returned %s, allowed are %d", hookExports[x.hook], plural.Of(size, "byte"), x.most)
	}
	if err := x.take(view); err != nil {
		return false, faultf(ReasonBadResult, "%s: %w", hookExports[x.hook], err)
	}
	return true, nil
}

// finish ends a call: the instance goes back to the pool when it worked, and is discarded otherwise.
func (p *pool) finish(s *slot, h Hook, f *fault, probe bool) *fault {
	ended := s.end()
	in := s.instance
	if f != nil {
		return p.giveUp(s, h, f, ended, probe)
	}
	s.shard.add(h, in.finish(p.plugin.limits.ClassifyBudget))
	var lines []guestLine
	if in.log.pending() {
		lines = in.log.take(in)
	}
	in.log.tail = in.log.tail[:0]
	p.release(s)
	if probe {
		p.breaker.Worked(p.calls())
		p.logger.Info("plugin works again")
	}
	if lines != nil {
		p.write(lines)
	}
	return nil
}

func (p *pool) giveUp(s *slot, h Hook, f *fault, ended, probe bool) *fault {
	in := s.instance
	if f.reason == ReasonTrap {
		f.reason = in.explain(f.err, h, ended)
	}
	lines := in.log.take(in)
	if said := in.log.said(); said != "" {
		f.err = fmt.Errorf("%w; the guest said: %s", f.err, said)
	}
	p.counters.restarts[reasonIndex(f.reason)].Add(1)
	p.discard(s)
	p.write(lines)
	f = p.failed(h, f, probe)
	if p.breaker.Closed() {
		p.replace()
	}
	return f
}

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
