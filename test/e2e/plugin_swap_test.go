package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const (
	swapsByReload = 50
	swapsByWatch  = 50
)

// TestHundredPluginSwaps replaces a plugin repeatedly, during requests, joins and leaves. Every
// answer is made by one version of it, the channels that the plugin alone opens stay open, no
// client notices a swap, and nothing of an old version stays.
func TestHundredPluginSwaps(t *testing.T) {
	versions := map[string][]byte{"A": buildVersion(t, "A"), "B": buildVersion(t, "B")}
	file := filepath.Join(t.TempDir(), "swapped.wasm")
	replaceFile(t, file, versions["A"])
	// The timeouts are far above the delays of a busy machine: a call that fails here fails because
	// of a swap.
	const times = "classify_timeout 20s\nshape_timeout 20s\n"
	site := func(more string) setup {
		return setup{options: "limits {\nframes_per_second 1000\n}\nplugin " + file + " {\n" + times + more + "}"}
	}
	p := start(t, site(""))
	crowd := gatherInOpenRooms(t, p, many)
	s := &swaps{p: p, file: file, versions: versions, now: "A"}
	l := startLoad(t, p, crowdRooms)

	for range 4 { // so that only growth is seen later
		s.byReload(t)
	}
	crowd.Settle(t)
	presence, other := crowd.Heard()
	before := p.holds(t)

	begin := time.Now()
	for i := range swapsByReload {
		if i == swapsByReload/2 {
			s.brokenByReload(t)
		}
		s.byReload(t)
	}
	tookReloads := time.Since(begin)
	p.write(t, site("watch\n"))
	if out, err := p.reload(t); err != nil {
		t.Fatalf("caddy reload: %v\n%s", err, out)
	}
	begin = time.Now()
	for i := range swapsByWatch {
		if i == swapsByWatch/2 {
			s.brokenByWatch(t)
		}
		s.byWatch(t)
	}
	tookWatch := time.Since(begin)

	crowd.Settle(t)
	l.stop(t)
	t.Logf("%d swaps by reload took %s, %d by watch %s, the slowest of these %s; meanwhile %d requests, %d joins",
		swapsByReload, tookReloads.Round(time.Millisecond), swapsByWatch, tookWatch.Round(time.Millisecond),
		s.slowest.Round(time.Millisecond), l.requests.Load(), l.joins.Load())
	if open := crowd.Open(); open != many {
		t.Errorf("%d of %d sockets are open", open, many)
	}
	if p, o := crowd.Heard(); p != presence || o != other {
		t.Errorf("%d presence frames and %d others came", p-presence, o-other)
	}
	for _, result := range []string{"budget", "timeout", "trap", "exit", "bad_result", "memory", "busy", "init", "configure", "breaker"} {
		for _, hook := range []string{"classify", "authorize", "members", "shape"} {
			series := fmt.Sprintf("caddy_rollcall_plugin_calls_total{hook=%q,host=%q,plugin=\"swapped\",result=%q}",
				hook, "portal.example.com", result)
			if n := p.metric(t, series); n != 0 {
				t.Errorf("%s %g", series, n)
			}
		}
	}
	p.expectFlat(t, before)
}

// crowdRooms is how many rooms the crowd is in: forty in each.
const crowdRooms = many / 40

// gatherInOpenRooms opens sockets of users and visitors in rooms that the plugin alone opens to
// visitors; one in ten watches.
func gatherInOpenRooms(t *testing.T, p *process, n int) *ws.Crowd {
	t.Helper()
	requests := make([]ws.Request, n)
	for i := range requests {
		requests[i] = p.site.Socket()
		if i%4 != 0 {
			requests[i] = authorized(t, p.site, fmt.Sprintf("USER_%d", i))
		}
	}
	return ws.Gather(t, n, func(i int) ws.Plan {
		watch := "none"
		if i%10 == 1 {
			watch = "list"
		}
		join := func(name string) string {
			return fmt.Sprintf(`{"type":"join","channel":"%s-%d","presence":%q}`, name, i%crowdRooms, watch)
		}
		plan := ws.Plan{Request: requests[i], Joins: []string{join("open")}}
		if i%4 != 0 {
			plan.Joins = append(plan.Joins, join("room"))
		}
		return plan
	})
}

// swaps alternates between two versions of a process's plugin.
type swaps struct {
	p        *process
	file     string
	versions map[string][]byte
	now      string
	slowest  time.Duration // of those by watch
}

// next puts the other version into the file.
func (s *swaps) next(t *testing.T) {
	t.Helper()
	s.now = map[string]string{"A": "B", "B": "A"}[s.now]
	replaceFile(t, s.file, s.versions[s.now])
}

func (s *swaps) byReload(t *testing.T) {
	t.Helper()
	s.next(t)
	if out, err := s.p.reload(t); err != nil {
		t.Fatalf("caddy reload: %v\n%s", err, out)
	}
	if err := s.serving(); err != nil {
		t.Fatalf("after the reload: %v", err)
	}
}

func (s *swaps) byWatch(t *testing.T) {
	t.Helper()
	s.next(t)
	begin := time.Now()
	ws.Poll(t, ws.Patience, s.serving)
	s.slowest = max(s.slowest, time.Since(begin))
}

// serving returns an error until the last version answers.
func (s *swaps) serving() error {
	answer, err := askVersion(s.p.site, `{"channel":"room-1"}`)
	if err == nil && answer != s.now {
		err = fmt.Errorf("version %s answers, want %s", answer, s.now)
	}
	return err
}

// brokenFile is the start of a module, without the rest.
func (s *swaps) brokenFile() []byte {
	content := s.versions[s.now]
	return content[:len(content)/2]
}

func (s *swaps) brokenByReload(t *testing.T) {
	t.Helper()
	failed := s.p.metric(t, loadsFailed)
	replaceFile(t, s.file, s.brokenFile())
	out, err := s.p.reload(t)
	if err == nil || !strings.Contains(out, filepath.Base(s.file)) {
		t.Errorf("caddy reload of a broken plugin: %v, want an error that names the file: %s", err, out)
	}
	if err := s.serving(); err != nil {
		t.Errorf("after a reload that was refused: %v", err)
	}
	if got := s.p.metric(t, loadsFailed); got != failed+1 {
		t.Errorf("%s is %g, want %g", loadsFailed, got, failed+1)
	}
}

func (s *swaps) brokenByWatch(t *testing.T) {
	t.Helper()
	const told = "changed plugin not loaded"
	failed, lines := s.p.metric(t, loadsFailed), strings.Count(s.p.log.String(), told)
	replaceFile(t, s.file, s.brokenFile())
	ws.Poll(t, ws.Patience, func() error {
		if err := s.serving(); err != nil {
			t.Fatalf("with a broken file: %v", err)
		}
		if got := s.p.metric(t, loadsFailed); got != failed+1 {
			return fmt.Errorf("%s is %g, want %g", loadsFailed, got, failed+1)
		}
		if strings.Count(s.p.log.String(), told) != lines+1 {
			return errors.New("the log does not tell")
		}
		return nil
	})
}

const loadsFailed = `caddy_rollcall_plugin_loads_total{plugin="swapped",result="error"}`

// holdings are resources of a process, beyond the memory of Go.
type holdings struct {
	usage
	rss  int // bytes
	code int // pieces of compiled code
}

func (p *process) holds(t *testing.T) holdings {
	t.Helper()
	h := holdings{rss: p.settledRSS(t), usage: p.usage(t)}
	h.code = p.codeMappings(t)
	return h
}

// expectFlat waits until the process holds about as much as before.
func (p *process) expectFlat(t *testing.T, before holdings) {
	t.Helper()
	const (
		moreGoroutines = 20
		moreHeap       = 6 << 20
		// A leaked instance shows as a MiB.
		moreRSS  = 30 << 20
		moreCode = 10
	)
	var after holdings
	ws.Poll(t, 2*ws.Patience, func() error {
		after = p.holds(t)
		return errors.Join(
			grown("goroutines", after.goroutines, before.goroutines, moreGoroutines),
			grown("bytes of heap", int(after.heap), int(before.heap), moreHeap),
			grown("bytes resident", after.rss, before.rss, moreRSS),
			grown("pieces of compiled code", after.code, before.code, moreCode),
		)
	})
	t.Logf("goroutines %d, then %d; heap %d KiB, then %d KiB; resident %d KiB, then %d KiB; pieces of code %d, then %d",
		before.goroutines, after.goroutines, before.heap>>10, after.heap>>10, before.rss>>10, after.rss>>10,
		before.code, after.code)
	list := p.plugins(t)
	if len(list) != 1 || len(list[0].Hosts) != 1 {
		t.Fatalf("%+v is loaded, want one plugin for one host", list)
	}
	host := list[0].Hosts[0]
	const instance = 3 << 20 // more than one has: a Go guest grows to 33 pages under this load, which are 2.1 MiB
	if n := host.Idle + host.Busy; n > runtime.NumCPU() || host.Memory > int64(n)*instance {
		t.Errorf("%d instances have %d bytes", n, host.Memory)
	}
}

func grown(what string, after, before, more int) error {
	if after > before+more {
		return fmt.Errorf("%d %s, before the swaps %d", after, what, before)
	}
	return nil
}
