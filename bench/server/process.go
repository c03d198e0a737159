package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a measured server. It is a process, which ends with this one.
type Process struct {
	Address string // HOST:PORT
	Host    string // host of requests
	Admin   string // the URL of Caddy's admin endpoint; "" for others

	collect string // a GET that makes the server collect garbage
	cmd     *exec.Cmd
	in      io.Closer // closed to end the process; nil if a signal ends it
}

// Start starts a server that writes a line with its address and that of its control, where GET /gc
// collects garbage. The server must end when its standard input ends.
func Start(ctx context.Context, command string, args ...string) (_ *Process, err error) {
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	addrs := strings.Fields(line)
	if err != nil || len(addrs) != 2 {
		return nil, errors.Join(fmt.Errorf("%s %v did not start: %q, %w", command, args, line, err), p.Stop())
	}
	p.Address, p.Host, p.collect = addrs[0], addrs[0], "http://"+addrs[1]+"/gc"
	return p, nil
}

// Stop ends the process.
func (p *Process) Stop() error {
	const patience = 10 * time.Second
	if p.in != nil {
		_ = p.in.Close()
	} else if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.cmd.Path, err)
	}
	return nil
}

// Await returns when the server accepts connections.
func (p *Process) Await(ctx context.Context) error {
	for {
		c, err := net.Dial("tcp", p.Address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %w", p.cmd.Path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Collect makes the server collect garbage twice: the second collection frees what the first found
// dead in pools.
func (p *Process) Collect(ctx context.Context) error {
	for range 2 {
		if _, err := get(ctx, p.collect); err != nil {
			return fmt.Errorf("collecting garbage: %w", err)
		}
	}
	return nil
}

// SettledRSS waits until the runtime has returned free memory in the background, and returns the
// resident memory.
func (p *Process) SettledRSS(ctx context.Context) (int, error) {
	const still = 2 * time.Second
	least, err := p.RSS()
	since := time.Now()
	for err == nil && time.Since(since) < still {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		var now int
		if now, err = p.RSS(); now < least-least/1000 {
			least, since = now, time.Now()
		}
	}
	return least, err
}

// RSS returns the resident memory of the process in bytes, without the files of its program.
func (p *Process) RSS() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			return kib << 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc: this needs Linux 4.5 or later")
}

// CPU returns the user and system time of the process. A process's clock has nanoseconds;
// /proc/PID/stat has only ticks of 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(cpuClock(p.cmd.Process.Pid), &t); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of %s: %w", p.cmd.Path, err)
	}
	return time.Duration(t.Nano()), nil
}

// Group is several processes that do one work together.
type Group []*Process

// CPU returns the user and system time of all processes.
func (g Group) CPU() (sum time.Duration, err error) {
	for _, p := range g {
		used, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// cpuClock returns the CPU clock of a process (clock_getcpuclockid(3); CPUCLOCK_SCHED in
// posix-timers_types.h).
func cpuClock(pid int) int32 { return ^int32(pid)<<3 | 2 } // a process ID has 22 bits

// SettledHeap returns the bytes of live objects on the heap of a Caddy. It waits until they no
// longer decrease, because parts of an old configuration are freed in the background.
func (p *Process) SettledHeap(ctx context.Context) (int, error) {
	const still = 4 // collections
	least := math.MaxInt
	for same := 0; same < still; same++ {
		if err := p.Collect(ctx); err != nil {
			return 0, err
		}
		now, err := p.heap(ctx)
		if err != nil {
			return 0, err
		}
		if now < least-least/1000 {
			least, same = now, 0
		}
	}
	return least, nil
}

// heap returns the bytes of all objects on the heap, from the text form of the heap profile.
func (p *Process) heap(ctx context.Context) (int, error) {
	text, err := get(ctx, p.Admin+"/debug/pprof/heap?debug=1")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "# HeapAlloc = "); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("no HeapAlloc in /debug/pprof/heap?debug=1")
}

// AwaitConfig returns when Caddy has started its configuration. The admin endpoint opens before
// that, and answers requests for the configuration after it.
func (p *Process) AwaitConfig(ctx context.Context) error {
	for {
		_, err := get(ctx, p.Admin+"/config/admin")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not start: %w", p.cmd.Path, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Load replaces the configuration of a Caddy.
func (p *Process) Load(ctx context.Context, config []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Admin+"/load", bytes.NewReader(config))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	_, err = do(r)
	return err
}

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(r)
}

// do returns the body of a response, which must have status 200.
func do(r *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s was answered %s: %s", r.URL, resp.Status, body)
	}
	return body, err
}

// Descriptors returns the number of open files and sockets of the process.
func (p *Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(entries), err
}

// AwaitDescriptors waits until the process has hardly more than most files open. A few may be
// connections of the runtime, or kept for the next request.
func (p *Process) AwaitDescriptors(ctx context.Context, most int) error {
	const few = 8
	for {
		now, err := p.Descriptors()
		if err != nil || now <= most+few {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d files are open, %d were: %w", now, most, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
