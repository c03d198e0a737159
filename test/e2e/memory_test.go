package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// idle is the number of connections for the measurement.
const idle = 10_000

// maxPerConnection is the maximum user memory of an idle connection in bytes.
const maxPerConnection = 2 << 10

// An idle connection that listens to one channel is cheap: it has no goroutine and no buffer.
func TestMemoryOfIdleConnections(t *testing.T) {
	// So pages that the runtime releases leave the resident set at once.
	p := start(t, setup{env: []string{"GODEBUG=madvdontneed=1"}})
	client := job{
		URL: p.site.Socket().URL, Host: p.site.Host, Channel: "anonymousCrowd",
	}
	// One-time costs of the first connections do not count.
	warm := client
	warm.N = 200
	begin(t, warm).end()
	p.site.Await(t, "users", `{}`, `{}`)
	before := p.settledRSS(t)

	client.N = idle
	opened := time.Now()
	crowd := begin(t, client)
	took := time.Since(opened)
	p.site.Expect(t, "users", `{"channel":"anonymousCrowd"}`, fmt.Sprintf(`{"anonymousCrowd":%d}`, idle))
	after := p.settledRSS(t)
	each := (after - before) / idle
	held := p.usage(t)
	t.Logf("%d idle connections, opened in %s: %d bytes of RSS each (%d MiB, before %d MiB); "+
		"heap %d MiB, stacks %d MiB", idle, took.Round(time.Millisecond), each, after>>20, before>>20,
		held.heap>>20, held.stacks>>20)
	if each > maxPerConnection {
		t.Errorf("an idle connection takes %d bytes of RSS, more than %d", each, maxPerConnection)
	}
	if held.goroutines > idle/10 {
		t.Errorf("%d goroutines for %d idle connections", held.goroutines, idle)
	}
	if each < 400 {
		t.Errorf("an idle connection takes %d bytes: the measurement is wrong", each)
	}

	crowd.end()
	p.site.Await(t, "users", `{}`, `{}`)
	t.Logf("when they have left: %d MiB", p.settledRSS(t)>>20)
}

var rss = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// settledRSS returns the resident memory in bytes after garbage collections, once it no longer
// falls: the runtime releases memory gradually.
func (p *process) settledRSS(t *testing.T) int {
	t.Helper()
	return settled(func() int {
		p.get(t, "/debug/pprof/heap?gc=1")
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		found := rss.FindSubmatch(status)
		if found == nil {
			t.Fatalf("no VmRSS in %s", status)
		}
		kib, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		return kib << 10
	})
}

// settled measures bytes until they no longer get less.
func settled(measure func() int) int {
	least, same := 0, 0
	deadline := time.Now().Add(ws.Patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for same < 10 && time.Now().Before(deadline) {
		if now := measure(); least == 0 || now < least-least/200 {
			least, same = now, 0
		} else {
			same++
		}
		<-tick.C
	}
	return least
}
