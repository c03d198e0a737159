package main

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// cell is one figure: an operation, and what it costs.
type cell struct {
	op       func() error
	parallel bool // on all CPUs at once; op may then be called by several goroutines
	per      int  // how many things one operation does; 0 is one

	ns     float64 // for each thing: CPU time of this process; where parallel, time on the clock
	allocs float64 // for each thing
}

// measureAll takes every figure once in each round, so that a busy minute of the machine does not meet one of them alone.
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
						b.Error(err) // nobody reads it, but the result is then empty
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

// cpuTime returns the time that all threads of this process have had, garbage collection included. Unlike the clock, it
// does not run on while another process has the CPU.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
