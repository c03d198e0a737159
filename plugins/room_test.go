package plugins

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// grower grows by a page with each call and writes to it.
const grower = `(func (export "rollcall_classify") (param i32 i32) (result i64)
	(if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
		(then (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.const 1) (i32.const 65536))))
	(i64.const 1))`

// hostsOf returns the hosts of the first plugin that have an instance.
func hostsOf(e *Engine) map[string]HostReport {
	open := make(map[string]HostReport)
	for _, h := range e.Report()[0].Hosts {
		if h.Idle+h.Busy > 0 {
			open[h.Host] = h
		}
	}
	return open
}

func TestTheLeastRecentlyUsedInstanceMakesRoom(t *testing.T) {
	file := wat(t, classifier(`(i64.const 1)`))
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // until the watchdog has ended
		e, _ := NewEngine(EngineConfig{Memory: 9 * pageSize})
		defer e.Close()
		p := load1(t, e, Spec{Path: file, Limits: Limits{Instances: 1}})
		defer p.Release()
		c := NewChain(p)
		for _, host := range []string{"a", "b", "c", "a", "d", "a", "e"} {
			if _, err := c.Classify(host, "c", Authenticated); err != nil {
				t.Errorf("host %s: %v", host, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		// b made room for d, c for e.
		open := hostsOf(e)
		for _, host := range []string{"a", "d", "e"} {
			if _, ok := open[host]; !ok || len(open) != 3 {
				t.Errorf("open: %v", open)
			}
		}
	})
}

// Many hosts share a budget for few: every one is answered, whatever the rate.
func TestNoHostIsRefusedForThatOfAnother(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: 64 * pageSize})
	c := NewChain(load(t, e, Spec{Path: wat(t, classifier(`(i64.const 1)`)), Limits: Limits{Instances: 1}}))
	for round := range 3 {
		for i := range 1000 {
			if d, err := c.Classify(fmt.Sprintf("h%d", i), "c", Authenticated); err != nil && !isBusy(err) || err == nil && d.Kind != Authenticated {
				t.Fatalf("round %d, host %d: %v, %v", round, i, d, err)
			}
			if used := e.memory.Used(); used > 64*pageSize {
				t.Fatalf("%d bytes are in use", used)
			}
		}
	}
}

func TestIdleTimeShrinksWithThePressure(t *testing.T) {
	last := idleAfter
	for pressure := range 130 {
		now := idleTime(float64(pressure) / 100)
		switch {
		case now > last, pressure <= 50 && now != idleAfter, pressure >= 90 && now != idleLeast:
			t.Errorf("%v at %d %%, after %v", now, pressure, last)
		}
		last = now
	}
	file := wat(t, classifier(`(i64.const 1)`))
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // until the watchdog has ended
		e, _ := NewEngine(EngineConfig{Memory: 31 * pageSize})
		defer e.Close()
		p := load1(t, e, Spec{Path: file, Limits: Limits{Instances: 1}})
		defer p.Release()
		c := NewChain(p)
		for i := range 10 { // 30 pages
			c.Classify(fmt.Sprintf("h%d", i), "c", Authenticated)
		}
		time.Sleep(idleAfter / 2)
		if n := len(hostsOf(e)); n > 4 {
			t.Errorf("%d instances are open", n)
		}
	})
}

func TestAGrownInstanceIsRenewedBesideItsCalls(t *testing.T) {
	file := wat(t, guest(grower))
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // until the watchdog has ended
		e, _ := NewEngine(EngineConfig{})
		defer e.Close()
		counters := new(Counters)
		p := load1(t, e, Spec{Path: file, Limits: Limits{Instances: 1}, Counters: func(string) *Counters { return counters }})
		defer p.Release()
		c := NewChain(p)
		call := func() {
			t.Helper()
			if _, err := c.Classify("h", "c", Authenticated); err != nil {
				t.Fatal(err)
			}
		}
		// Before it is old enough, it may grow: to 200 of 256 pages, which is above 3/4.
		for range recycleLeast - 1 {
			call()
			if e.Report()[0].Hosts[0].LinearMemory >= 120*pageSize {
				break
			}
		}
		if s := counters.Read(); s.Recycled != 0 {
			t.Fatalf("%d were replaced", s.Recycled)
		}
		time.Sleep(recycleAge)
		before := e.Report()[0].Hosts[0]
		for counters.Read().Recycled == 0 {
			call()
			synctest.Wait()
			if n := counters.Read().OK[HookClassify]; n > 2*recycleLeast {
				t.Fatalf("it is still the same after %d calls", n)
			}
		}
		after := e.Report()[0].Hosts[0]
		if after.Idle != 1 || after.Busy != 0 || after.LinearMemory >= before.LinearMemory || after.LinearMemory > 4*pageSize {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if used := e.memory.Used(); used != after.Memory {
			t.Errorf("%d bytes are in use, the instance has %d", used, after.Memory)
		}
		call()
		if s := counters.Read(); s.Recycled != 1 || s.Restarts != [len(Reasons)]uint64{} {
			t.Errorf("%d recycled, %v restarted", s.Recycled, s.Restarts)
		}
	})
}

// A release or a failure may come while the new instance is made or waits for its slot.
func TestARenewedInstanceIsClosedWithItsPool(t *testing.T) {
	for name, end := range map[string]func(p *Plugin, s *slot){
		"busy, then released":     func(p *Plugin, s *slot) { p.Release(); p.anchor.pool("h").release(s) },
		"busy, then failed":       func(p *Plugin, s *slot) { p.anchor.pool("h").discard(s); p.Release() },
		"busy, then idle":         func(p *Plugin, s *slot) { p.anchor.pool("h").freeSlot(s, slotIdle); p.Release() },
		"released, then no calls": func(p *Plugin, s *slot) { p.Release(); p.anchor.pool("h").discard(s) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{})
			p := load1(t, e, Spec{Path: wat(t, guest(grower)), Limits: Limits{Instances: 1}})
			pool := p.anchor.pool("h")
			s, f := pool.tryAcquire(t.Context())
			if f != nil {
				t.Fatal(f)
			}
			first := s.instance
			if !pool.renew(s) {
				t.Fatal("no instance is being made")
			}
			await(t, "the new instance", func() bool { return s.next.Load() != nil })
			if s.instance != first {
				t.Fatal("it took the place of an instance in use")
			}
			end(p, s)
			await(t, "all to be closed", func() bool { return e.memory.Used() == 0 })
		})
	}
}

// Between two measurements, guests can write to more than they are charged for: to all of their
// memory, whose sizes are bounded too.
func TestMemoryThatIsWrittenUnseenIsBounded(t *testing.T) {
	const limit = 64 * pageSize
	e := newEngine(t, EngineConfig{Memory: limit})
	c := NewChain(load(t, e, Spec{Path: wat(t, `(module (memory (export "memory") 16) (func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 8192))
		(func (export "rollcall_classify") (param i32 i32) (result i64)
			(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) (i64.const 1)))`), Limits: Limits{Instances: 1, ClassifyTimeout: time.Minute}}))
	for i := range 300 {
		if _, err := c.Classify(fmt.Sprint("h", i), "c", Authenticated); err != nil {
			t.Fatalf("host %d: %v", i, err)
		}
		sizes := int64(0)
		for _, h := range hostsOf(e) {
			sizes += h.LinearMemory
		}
		if used := e.memory.Used(); used > limit || sizes > 4*limit {
			t.Fatalf("host %d: %d bytes are charged, the instances are %d large", i, used, sizes)
		}
	}
}
