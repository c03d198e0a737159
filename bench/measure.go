package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// figures are what one target costs a connection.
type figures struct {
	rss   float64 // KB
	rssGC float64 // KB
	cpu   float64 // microseconds
}

// measure starts the target, connects, and reads what the kernel says of the process.
func measure(ctx context.Context, t target, conns int) (figures, error) {
	dir, err := os.MkdirTemp("", "rollcall-bench")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(dir)
	s, err := t.start(ctx, dir)
	if err != nil {
		return figures{}, err
	}
	defer func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
	}()
	if err := waitFor(ctx, s); err != nil {
		return figures{}, err
	}
	pid := s.cmd.Process.Pid
	if err := collect(s); err != nil {
		return figures{}, err
	}
	rss0, err := settledRSS(ctx, pid)
	if err != nil {
		return figures{}, err
	}
	cpu0, err := cpuTime(pid)
	if err != nil {
		return figures{}, err
	}
	open, err := connectAll(ctx, t, s.addr, conns)
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	if err != nil {
		return figures{}, err
	}
	cpu1, err := cpuTime(pid)
	if err != nil {
		return figures{}, err
	}
	rss1, err := rss(pid)
	if err != nil {
		return figures{}, err
	}
	if err := collect(s); err != nil {
		return figures{}, err
	}
	rss2, err := settledRSS(ctx, pid)
	if err != nil {
		return figures{}, err
	}
	n := float64(conns)
	return figures{
		rss:   float64(rss1-rss0) / n,
		rssGC: float64(rss2-rss0) / n,
		cpu:   float64((cpu1 - cpu0).Microseconds()) / n,
	}, nil
}

// connectAll opens the connections, a few dozen at a time.
func connectAll(ctx context.Context, t target, addr string, n int) ([]net.Conn, error) {
	const atOnce = 32
	var (
		wg     sync.WaitGroup
		places = make(chan struct{}, atOnce)
		conns  = make([]net.Conn, n)
		errs   = make([]error, n)
	)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		places <- struct{}{}
		wg.Go(func() {
			conns[i], errs[i] = t.connect(addr)
			<-places
		})
	}
	wg.Wait()
	conns = slices.DeleteFunc(conns, func(c net.Conn) bool { return c == nil })
	return conns, errors.Join(errors.Join(errs...), ctx.Err())
}

func waitFor(ctx context.Context, s *server) error {
	for {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server did not come up: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// collect has the server collect its garbage, twice: what the first finds dead in pools goes with the second.
func collect(s *server) error {
	for range 2 {
		resp, err := http.Get(s.gc)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// settledRSS waits until the memory that the runtime returns in the background is returned.
func settledRSS(ctx context.Context, pid int) (int, error) {
	const still = 3 * time.Second
	least, err := rss(pid)
	since := time.Now()
	for err == nil && time.Since(since) < still {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		var now int
		if now, err = rss(pid); now < least {
			least, since = now, time.Now()
		}
	}
	return least, err
}

// rss returns the resident memory of a process in KB.
func rss(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, errors.New("no VmRSS in /proc: this needs Linux")
}

// cpuTime returns the user and system time of a process (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("unexpected /proc/PID/stat")
	}
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
