package bus

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// proxy is a link that can go dead without an end: nothing is forwarded and nothing reset, and who
// connects meanwhile is held like by a host that was stopped.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cond  *sync.Cond
	dead  bool
	conns map[net.Conn]struct{}
	ended bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	p.cond = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	wg.Go(func() { p.accept(&wg) })
	t.Cleanup(func() {
		p.end()
		wg.Wait()
	})
	return p
}

func (p *proxy) end() {
	_ = p.listener.Close() // its goroutine ends
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.dead = true, false
	for c := range p.conns {
		_ = c.Close() // its goroutines end
	}
	p.cond.Broadcast()
}

func (p *proxy) setDead(dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = dead
	p.cond.Broadcast()
}

// pass waits until the link is not dead.
func (p *proxy) pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.dead {
		p.cond.Wait()
	}
}

func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		_ = c.Close() // too late for it
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) accept(wg *sync.WaitGroup) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.hold(c) {
			return
		}
		p.pass()
		d, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = c.Close() // like the target, which is not there
			continue
		}
		if !p.hold(d) {
			return
		}
		wg.Go(func() { p.copy(c, d) })
		wg.Go(func() { p.copy(d, c) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() {
		p.pass()
		_ = to.Close()   // also ends the other direction
		_ = from.Close() // it has ended
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// The route is found dead while the link is, and comes back by itself. The bounds are those of
// [eventually]; how long it took is logged.
func TestPartitionIsFoundAndHeals(t *testing.T) {
	for name, both := range map[string]bool{"one dials": false, "both dial": true} {
		t.Run(name, func(t *testing.T) {
			addresses := freePorts(t, 2)
			toB, toA := newProxy(t, addresses[1]), newProxy(t, addresses[0])
			cfg := Config{Name: "a", Listen: addresses[0], Routes: []string{toB.listener.Addr().String()}, Secret: testSecret}
			a := open(t, cfg)
			cfg.Name, cfg.Listen, cfg.Routes = "b", addresses[1], nil
			if both {
				cfg.Routes = []string{toA.listener.Addr().String()}
			}
			b := open(t, cfg)
			meshed(t, "before", a, b)
			inA, inB := subscribe(t, a, "s"), subscribe(t, b, "s")

			start := time.Now()
			toB.setDead(true)
			toA.setDead(true)
			testkit.Eventually(t, "end of the route at a", func() bool { return len(a.State().Routes) == 0 })
			testkit.Eventually(t, "end of the route at b", func() bool { return len(b.State().Routes) == 0 })
			t.Logf("found dead after %v", time.Since(start))
			if err := a.Publish("s", []byte("lost")); err != nil {
				t.Errorf("publish on one side of a partition: %v", err)
			}
			testkit.Eventually(t, "own payload", func() bool { return inA.has("lost") })

			start = time.Now()
			toB.setDead(false)
			toA.setDead(false)
			reaches(t, a, "s", inB, "from a")
			reaches(t, b, "s", inA, "from b")
			t.Logf("healed after %v", time.Since(start))
			if inB.has("lost") {
				t.Error("a payload came after the partition")
			}
		})
	}
}

// A short one is not noticed: what was sent in it comes late.
func TestShortInterruptionKeepsTheRoute(t *testing.T) {
	b := pod(t, "b")
	link := newProxy(t, b.State().Listen)
	a := pod(t, "a", link.listener.Addr().String())
	in := subscribe(t, b, "s")
	reaches(t, a, "s", in, "before")
	link.setDead(true)
	if err := a.Publish("s", []byte("during")); err != nil {
		t.Fatal(err)
	}
	link.setDead(false)
	testkit.Eventually(t, "payload", func() bool { return in.has("during") })
}

// What is published into a dead link has a bound in memory, and Close does not wait for it.
func TestCloseWithADeadLink(t *testing.T) {
	b := pod(t, "b")
	link := newProxy(t, b.State().Listen)
	a := pod(t, "a", link.listener.Addr().String())
	in := subscribe(t, b, "s")
	reaches(t, a, "s", in, "before")
	link.setDead(true)
	for range 40 {
		if err := a.Publish("s", make([]byte, 512<<10)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	start := time.Now()
	go func() { a.Close(); close(done) }()
	testkit.Eventually(t, "close", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	t.Logf("closed after %v", time.Since(start))
}

func TestExternalPartitionIsToldAndHeals(t *testing.T) {
	srv := external(t, "us", nil)
	link := newProxy(t, srv.Addr().String())
	var mu sync.Mutex
	var states []bool
	a := open(t, Config{URLs: []string{"nats://" + link.listener.Addr().String()}, OnState: func(c bool) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, c)
	}})
	in := subscribe(t, a, "s")
	link.setDead(true)
	start := time.Now()
	testkit.Eventually(t, "loss", func() bool { return !a.State().Connected })
	t.Logf("found dead after %v", time.Since(start))
	start = time.Now()
	link.setDead(false)
	reaches(t, a, "s", in, "after")
	t.Logf("healed after %v", time.Since(start))
	testkit.Eventually(t, "states", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(states) == 3 && states[0] && !states[1] && states[2]
	})
	if s := a.State(); s.Reconnects != 1 || s.LastError != "" {
		t.Errorf("state %+v", s)
	}
}
