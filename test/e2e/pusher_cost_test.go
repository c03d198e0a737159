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
	env:     []string{"GODEBUG=madvdontneed=1"}, // pages that the runtime releases leave the resident set at once
}

// crowdOf is the task of clients in a channel without prefix.
func crowdOf(p *process, channel string, n int, pusher bool) job {
	j := job{URL: p.site.Socket().URL, Host: p.site.Host, Channel: channel, N: n, Pusher: pusher}
	if pusher {
		j.URL = strings.Replace(j.URL, "/message/socket", "/app/cost-app?protocol=7&client=js&version=8.6.0", 1)
	}
	return j
}

// TestT35IdleConnections compares the memory of idle connections of both protocols.
func TestT35IdleConnections(t *testing.T) {
	each := make(map[bool]int)
	for attempt := range 3 { // what else a process keeps varies by some percent, and only adds to it
		for _, pusher := range []bool{false, true} {
			n := memoryOfIdle(t, pusher)
			if attempt == 0 || n < each[pusher] {
				each[pusher] = n
			}
		}
		t.Logf("%d idle connections: native %d bytes each, Pusher %d", idle, each[false], each[true])
		if float64(each[true]) <= mostOfNative*float64(each[false]) {
			break
		}
	}
	if each[false] < 400 || float64(each[true]) > mostOfNative*float64(each[false]) {
		t.Errorf("an idle connection of Pusher's protocol takes %d bytes, a native one %d", each[true], each[false])
	}
}

// memoryOfIdle returns how many bytes of heap and stacks an idle connection takes. The resident memory
// varies by a quarter from one process to the next: see TestMemoryOfIdleConnections for it.
func memoryOfIdle(t *testing.T, pusher bool) int {
	t.Helper()
	p := start(t, pusherSetup)
	// One-time costs of the first connections do not count.
	begin(t, crowdOf(p, "anonymousCrowd", 200, pusher)).end()
	p.site.Await(t, "users", `{}`, `{}`)
	before := p.settledUse(t)
	crowd := begin(t, crowdOf(p, "anonymousCrowd", idle, pusher))
	p.site.Expect(t, "users", `{"channel":"anonymousCrowd"}`, fmt.Sprintf(`{"anonymousCrowd":%d}`, idle))
	each := (p.settledUse(t) - before) / idle
	crowd.end()
	p.kill()
	return each
}

// settledUse returns the bytes of heap and stacks in use, once they no longer get less.
func (p *process) settledUse(t *testing.T) int {
	t.Helper()
	return settled(func() int {
		u := p.usage(t)
		return int(u.heap + u.stacks)
	})
}

// TestT35FanOut compares the CPU time of messages to 5,000 listeners of either protocol. Other work on
// the machine only adds to it, so the least of several measurements counts.
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
