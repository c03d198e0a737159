package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// restFor is how long the deployment at rest is observed.
const restFor = 20 * time.Second

// rest measures what the pods cost without queries and changes, as a difference of two readings.
func (d *deployment) rest(ctx context.Context) error {
	progress("at rest")
	before, err := readUsage()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(restFor):
	}
	after, err := readUsage()
	if err != nil {
		return err
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	seconds := restFor.Seconds() * pods
	fmt.Printf("\n## At rest\n\nTen pods in one process, for %.0f s without queries and changes, for each pod; plain NATS is idle beside them.\n\n"+
		"| CPU, ms in a second | written, bytes in a second | heap, MB |\n| ---: | ---: | ---: |\n| %.2f | %.0f | %.2f |\n",
		restFor.Seconds(), float64((after.cpu-before.cpu).Microseconds())/1000/seconds,
		float64(after.written-before.written)/seconds, float64(memory.HeapAlloc)/(1<<20)/pods)
	return nil
}

// usage is what this process has used since its start.
type usage struct {
	cpu     time.Duration
	written uint64 // bytes written to files and connections
}

func readUsage() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	u := usage{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano())}
	text, err := os.ReadFile("/proc/self/io") // proc_pid_io(5)
	if err != nil {
		return usage{}, err
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	u.written, err = strconv.ParseUint(line, 10, 64)
	return u, err
}
