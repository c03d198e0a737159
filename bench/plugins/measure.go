package main

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// cell is one figure: an operation and its cost.
type cell struct {
	op       func() error
	parallel bool // on all CPUs at once; op must then be safe for concurrent use
	per      int  // number of things that one operation does; 0 means 1

	ns     float64 // per thing: CPU time of this process, or time on the clock if parallel
	allocs float64 // per thing
}

// measureAll takes every figure once per round, so that a busy minute of the machine does not
// affect only one.
func measureAll(rounds int, cells ...*cell) error {
	for range rounds {
		for _, c := range cells {
			if c == nil {
				continue
			}
			if err := c.measure(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cell) measure() error {
	var (
		failure error
		used    time.Duration
	)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		if c.parallel {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.op(); err != nil {
						b.Error(err) // not shown, but it makes the result empty
						return
					}
				}
			})
			return
		}
		start := cpuTime()
		for b.Loop() {
			if failure = c.op(); failure != nil {
				b.FailNow()
			}
		}
		used = cpuTime() - start
	})
	if failure != nil {
		return failure
	}
	if result.N == 0 {
		return errors.Join(errors.New("an operation failed"), c.op())
	}
	if c.parallel {
		used = result.T
	}
	per := float64(max(c.per, 1))
	ns := float64(used.Nanoseconds()) / float64(result.N) / per
	if c.ns == 0 || ns < c.ns {
		c.ns = ns
		c.allocs = float64(result.MemAllocs) / float64(result.N) / per
	}
	return nil
}

// cpuTime returns the CPU time of all threads of this process, garbage collection included. Unlike
// the clock, it stops while another process has the CPU.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails only for wrong arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
