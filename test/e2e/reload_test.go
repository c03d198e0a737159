package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// many is the number of sockets of a medium-sized deployment during a reload.
const many = 2000

// gather opens sockets of users and visitors, in rooms of forty; one in ten watches.
func gather(t *testing.T, p *process, n int) *ws.Crowd {
	t.Helper()
	requests := make([]ws.Request, n)
	for i := range requests {
		requests[i] = p.site.Socket()
		if i%4 != 0 {
			requests[i] = authorized(t, p.site, fmt.Sprintf("USER_%d", i/2))
		}
	}
	return ws.Gather(t, n, func(i int) ws.Plan {
		watch := "none"
		if i%10 == 1 {
			watch = "list"
		}
		join := func(name string) string {
			return fmt.Sprintf(`{"type":"join","channel":%q,"presence":%q}`, name, watch)
		}
		plan := ws.Plan{Request: requests[i], Joins: []string{join(fmt.Sprintf("anonymous-%d", i%(n/40)))}}
		if i%4 != 0 {
			plan.Joins = append(plan.Joins, join(fmt.Sprintf("room-%d", i%(n/40))))
		}
		return plan
	})
}

// usage has the resources of a process.
type usage struct {
	goroutines int
	heap       uint64 // bytes in use after a garbage collection
	stacks     uint64 // bytes
}

var (
	goroutineTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapInUse      = regexp.MustCompile(`# HeapAlloc = (\d+)`)
	stacksInUse    = regexp.MustCompile(`# Stack = (\d+)`)
)

func (p *process) usage(t *testing.T) usage {
	t.Helper()
	number := func(re *regexp.Regexp, text string) uint64 {
		found := re.FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("nothing in the profile fits %s", re)
		}
		n, err := strconv.ParseUint(found[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p.get(t, "/debug/pprof/heap?gc=1&debug=1") // the second collection frees what pools held
	heap := p.get(t, "/debug/pprof/heap?gc=1&debug=1")
	return usage{
		goroutines: int(number(goroutineTotal, p.get(t, "/debug/pprof/goroutine?debug=1"))),
		heap:       number(heapInUse, heap),
		stacks:     number(stacksInUse, heap),
	}
}

func TestFiftyReloadsTouchNoSocket(t *testing.T) {
	p := start(t, setup{})
	variants := []struct {
		name string
		setup
		want int
	}{
		{"same configuration", setup{}, http.StatusOK},
		{"changed option", setup{options: "ping 20s 30s\n limits {\n queue 256KiB\n }"}, http.StatusOK},
		{"broken configuration", setup{options: "origins nonsense"}, http.StatusBadRequest},
		{"host added", setup{sites: "http://other.example.com:%d {\n rollcall\n}\n"}, http.StatusOK},
		{"app that does not start", setup{sites: "http://203.0.113.1:%d {\n bind 203.0.113.1\n respond 204\n}\n"}, http.StatusBadRequest},
	}
	reload := func(i int) {
		v := variants[i%len(variants)]
		if status, body, err := p.load(v.setup); err != nil || status != v.want {
			t.Fatalf("%s: status %d: %s (%v), want %d", v.name, status, body, err, v.want)
		}
	}
	crowd := gather(t, p, many)
	for i := range 2 * len(variants) { // so that only growth shows later
		reload(i)
	}
	crowd.Settle(t)
	users := p.site.Answer(t, "users", `{"dedupeUsers":false}`)
	allUsers := p.site.Answer(t, "allusers", `{"includeUsers":true,"dedupeUsers":false}`)
	presence, other := crowd.Heard()
	before := p.usage(t)
	if before.goroutines > many/10 {
		t.Errorf("%d goroutines for %d idle sockets", before.goroutines, many)
	}

	begin := time.Now()
	const reloads = 50
	for i := range reloads {
		reload(i)
	}
	took := time.Since(begin)
	crowd.Settle(t)
	if open := crowd.Open(); open != many {
		t.Errorf("%d of %d sockets are open", open, many)
	}
	if p, o := crowd.Heard(); p != presence || o != other {
		t.Errorf("%d presence frames and %d others came", p-presence, o-other)
	}
	p.site.Expect(t, "users", `{"dedupeUsers":false}`, users)
	p.site.Expect(t, "allusers", `{"includeUsers":true,"dedupeUsers":false}`, allUsers)

	const slack = 10
	var after usage
	ws.Poll(t, ws.Patience, func() error { // stopped parts of Caddy end a little later
		after = p.usage(t)
		if after.goroutines > before.goroutines+slack {
			return fmt.Errorf("%d goroutines, before the reloads %d", after.goroutines, before.goroutines)
		}
		if after.heap > before.heap+3<<20 {
			return fmt.Errorf("%d KiB of heap, before the reloads %d", after.heap>>10, before.heap>>10)
		}
		return nil
	})
	t.Logf("%d reloads took %s; goroutines %d, then %d; heap %d KiB, then %d KiB", reloads, took.Round(time.Millisecond),
		before.goroutines, after.goroutines, before.heap>>10, after.heap>>10)

	crowd.Leave()
	ws.Poll(t, ws.Patience, func() error {
		if got := p.site.Answer(t, "users", `{}`); got != `{}` {
			return fmt.Errorf("users: %.200s", got)
		}
		if got := p.usage(t); got.goroutines > before.goroutines+slack || got.heap > before.heap {
			return fmt.Errorf("%d goroutines and %d KiB of heap, with sockets %d and %d",
				got.goroutines, got.heap>>10, before.goroutines, before.heap>>10)
		}
		return nil
	})
}

func TestReloadByCommandAndBySignal(t *testing.T) {
	t.Parallel()
	p := start(t, setup{})
	c := p.site.Dial(t)
	c.Join(t, "anonymousChat")

	added := ws.Site{URL: p.site.URL, Host: fmt.Sprintf("other.example.com:%d", p.port), Key: apiKey}
	other := "http://other.example.com:%d {\n rollcall {\n api_key " + apiKey + "\n }\n}\n"
	p.write(t, setup{sites: other})
	out, err := caddy(t, "reload", "--force", "--config", p.file, "--address", strings.TrimPrefix(p.admin, "http://"))
	if err != nil {
		t.Fatalf("caddy reload: %v\n%s", err, out)
	}
	added.Expect(t, "users", `{}`, `{}`)
	leaving := added.Dial(t)
	c.ExpectNothing(t)
	p.site.Expect(t, "users", `{"channel":"anonymousChat"}`, `{"anonymousChat":1}`)

	p.write(t, setup{options: "nonsense"})
	if out, err := caddy(t, "reload", "--config", p.file, "--address", strings.TrimPrefix(p.admin, "http://")); err == nil {
		t.Errorf("caddy reload took a broken Caddyfile: %s", out)
	}
	c.ExpectNothing(t)

	// Caddy accepts the signal only while its configuration is the file's, so this is a new
	// process.
	fresh := start(t, setup{sites: other})
	stays := fresh.site.Dial(t)
	added = ws.Site{URL: fresh.site.URL, Host: fmt.Sprintf("other.example.com:%d", fresh.port), Key: apiKey}
	leavingBySignal := added.Dial(t)
	fresh.write(t, setup{})
	fresh.signal(t, syscall.SIGUSR1)
	ws.ExpectClose(t, leavingBySignal.Conn, websocket.CloseGoingAway)
	stays.ExpectNothing(t)
	leaving.ExpectNothing(t)
}
