package e2e

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// mostOfNative is what a connection of Pusher's protocol may cost, compared with one of Rollcall's.
const mostOfNative = 1.1

// pusherSetup has an app.
var pusherSetup = setup{
	options: "pusher {\n\t\t\tapp 101 cost-app cost-secret-0123456789\n\t\t}",
}

// crowdOf is the task of clients in a channel without prefix.
func crowdOf(p *process, channel string, n int, pusher bool) job {
	j := job{URL: p.site.Socket().URL, Host: p.site.Host, Channel: channel, N: n, Pusher: pusher}
	if pusher {
		j.URL = strings.Replace(j.URL, "/message/socket", "/app/cost-app?protocol=7&client=js&version=8.6.0", 1)
	}
	return j
}

// TestT35IdleConnections compares the heap that idle connections of both protocols take. What else
// a process keeps varies by some percent and only adds to it, so the least of several processes
// counts, of the heap before the crowd and of the heap with it. The resident set is left out, as it
// varies by a quarter between equal processes (see TestMemoryOfIdleConnections), and so are stacks:
// the number of goroutines shows whether a connection has one.
func TestT35IdleConnections(t *testing.T) {
	const attempts = 5
	empty, full := 0, make(map[bool]int)
	for attempt := range attempts {
		for _, pusher := range []bool{false, true} {
			before, with := heapOfIdle(t, pusher)
			if attempt == 0 && !pusher || before < empty {
				empty = before
			}
			if attempt == 0 || with < full[pusher] {
				full[pusher] = with
			}
		}
		native, other := (full[false]-empty)/idle, (full[true]-empty)/idle
		t.Logf("%d idle connections: native %d bytes each, Pusher %d", idle, native, other)
		if native >= 400 && float64(other) <= mostOfNative*float64(native) {
			return
		}
	}
	t.Errorf("idle connections of Pusher's protocol take more than %.1f times what native ones take, or the measurement is wrong", mostOfNative)
}

// heapOfIdle returns how many bytes of heap a process uses before it has idle connections, and with
// them.
func heapOfIdle(t *testing.T, pusher bool) (before, with int) {
	t.Helper()
	p := start(t, pusherSetup)
	// One-time costs of the first connections do not count.
	begin(t, crowdOf(p, "anonymousCrowd", 200, pusher)).end()
	p.site.Await(t, "users", `{}`, `{}`)
	var last usage
	heap := func() int {
		last = p.usage(t)
		return int(last.heap)
	}
	before = settled(heap)
	crowd := begin(t, crowdOf(p, "anonymousCrowd", idle, pusher))
	p.site.Expect(t, "users", `{"channel":"anonymousCrowd"}`, fmt.Sprintf(`{"anonymousCrowd":%d}`, idle))
	with = settled(heap)
	if last.goroutines > idle/10 {
		t.Errorf("%d goroutines with %d idle connections", last.goroutines, idle)
	}
	crowd.end()
	p.kill()
	return before, with
}

// TestT35FanOut compares the CPU time of messages to 5,000 listeners of either protocol. Other work
// on the machine only adds to it, so the least of several measurements counts.
func TestT35FanOut(t *testing.T) {
	const listeners, messages, attempts = 5000, 150, 8
	p := start(t, pusherSetup)
	channels := map[bool]string{false: "anonymousNative", true: "anonymousPusher"}
	for pusher, channel := range channels {
		begin(t, crowdOf(p, channel, listeners, pusher))
	}
	least := make(map[bool]time.Duration)
	for i := range attempts {
		for pusher, channel := range channels {
			before := p.settledCPU(t)
			for range messages {
				p.site.Expect(t, "sendmessage", fmt.Sprintf(`{"channels":[%q],"message":{"text":"hello"}}`, channel),
					fmt.Sprintf(`{"channels":[%q],"message":{"text":"hello"}}`, channel))
			}
			if used := p.settledCPU(t) - before; i == 0 || used < least[pusher] {
				least[pusher] = used
			}
		}
		if i > 0 && float64(least[true]) <= mostOfNative*float64(least[false]) {
			break
		}
	}
	t.Logf("%d messages to %d listeners: native %s, Pusher %s", messages, listeners, least[false], least[true])
	if float64(least[true]) > mostOfNative*float64(least[false]) {
		t.Errorf("messages to listeners of Pusher's protocol take %s, to native ones %s", least[true], least[false])
	}
}

// settledCPU returns the CPU time of the process once it does nothing more.
func (p *process) settledCPU(t *testing.T) time.Duration {
	t.Helper()
	last, same := p.cpu(t), 0
	ws.Poll(t, ws.Patience, func() error {
		if now := p.cpu(t); now != last {
			last, same = now, 0
		}
		if same++; same < 5 { // times of 10 ms, which is also a tick of the clock
			return errors.New("the process is busy")
		}
		return nil
	})
	return last
}

// cpu returns the CPU time that the process has used.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name of the program may have spaces
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
