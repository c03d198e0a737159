package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func change(t *testing.T, b *Bus, cfg Config) {
	t.Helper()
	if err := b.Change(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// patient makes changes of the bus wait longer. Under load, other pods can be slower than a change
// expects.
func patient(b *Bus) {
	b.waits = waits{reach: testkit.Patience, restart: testkit.Patience, settle: time.Second, hold: time.Second}
}

// stream publishes numbers, until it is stopped.
type stream struct {
	in   inbox
	n    int
	stop chan struct{}
	done sync.WaitGroup
}

// streamed starts a stream from one bus to another, and waits until the first number arrives.
func streamed(t *testing.T, from, to *Bus, subject string) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{})}
	if _, err := to.Subscribe(subject, s.in.take); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the first payload", func() bool {
		s.n++
		return from.Publish(subject, []byte(strconv.Itoa(s.n))) == nil && len(s.in.all()) > 0
	})
	s.done.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			s.n++
			if err := from.Publish(subject, []byte(strconv.Itoa(s.n))); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
			if s.n%16 == 0 {
				_ = from.Flush() // so that the taker can follow
			}
		}
	})
	return s
}

// end ends the stream, and checks that all numbers have come, in order. Each may have come twice.
func (s *stream) end(t *testing.T) {
	t.Helper()
	close(s.stop)
	s.done.Wait()
	testkit.Eventually(t, "the last payload", func() bool { return s.in.has(strconv.Itoa(s.n)) })
	last, again := 0, 0
	for _, text := range s.in.all() {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			t.Fatal(err)
		case last == 0 || n == last+1:
			last = n
		case n > last:
			t.Fatalf("%d comes after %d", n, last)
		default:
			again++
		}
	}
	t.Logf("%d numbers, %d of them twice", last, again)
}

func TestNewCertificatesAreForNewRoutes(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	addresses := freePorts(t, 4) // nobody listens on the last one at first
	config := func(a *authority, i int) Config {
		return Config{Name: fmt.Sprint("pod-", i), Listen: addresses[i], Routes: addresses, Secret: testSecret, RouteTLS: a.pod(t)}
	}
	var pods []*Bus
	for i := range 3 {
		pods = append(pods, open(t, config(before, i)))
	}
	meshed(t, "first", pods...)
	routes := func() (all [][]Route) {
		for _, b := range pods {
			list := b.State().Routes
			for i := range list {
				list[i].RTT = 0
			}
			all = append(all, list)
		}
		return all
	}
	old, s := routes(), streamed(t, pods[0], pods[1], "s")
	for i, b := range pods {
		change(t, b, config(after, i))
	}
	s.end(t)
	if now := routes(); !reflect.DeepEqual(now, old) {
		t.Errorf("routes %v, before %v", now, old)
	}

	// The first one to come has the new authority and is dialed, too. The other one is refused.
	meshed(t, "second", append(pods, open(t, config(after, 3)))...)
	late := config(before, 3)
	late.Name, late.Listen, late.Routes = "late", "127.0.0.1:0", addresses[:1]
	b, errs := open(t, late), pods[0].State().Errors
	testkit.Eventually(t, "refusal", func() bool { return pods[0].State().Errors > errs })
	if s := b.State(); len(s.Routes) > 0 {
		t.Errorf("state %+v", s)
	}
}

func TestBadChangeChangesNothing(t *testing.T) {
	a := newAuthority(t)
	cfg := Config{Name: "a", Listen: freePorts(t, 1)[0], Secret: testSecret, RouteTLS: a.pod(t)}
	b := open(t, cfg)
	taken := pod(t, "taken")
	tests := []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"no authority", func(c *Config) { c.RouteTLS = c.RouteTLS.Clone(); c.RouteTLS.RootCAs = nil }, "authority"},
		{"port of another process", func(c *Config) { c.Listen = taken.State().Listen }, "in use"},
		{"address of nobody", func(c *Config) { c.Listen = "192.0.2.1:0" }, "192.0.2.1:0"},
		{"bad route", func(c *Config) { c.Routes = []string{"a"} }, "HOST:PORT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next := cfg
			tt.change(&next)
			if err := b.Change(t.Context(), next); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			other := cfg
			other.Name, other.Listen, other.Routes, other.RouteTLS = "b", "127.0.0.1:0", []string{cfg.Listen}, a.pod(t)
			meshed(t, "m", b, open(t, other))
		})
	}
}

func TestNewLoginIsForNewConnections(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	srv := external(t, "us", func(o *server.Options) { o.TLS, o.TLSVerify, o.TLSConfig = true, true, after.pod(t) })
	cfg := Config{URLs: []string{"tls://" + srv.Addr().String()}, ClientTLS: before.pod(t)}
	b := open(t, cfg)
	var in inbox
	if _, err := b.Subscribe("s", in.take); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "refusal", func() bool { return strings.Contains(b.State().LastError, "certificate") })
	cfg.ClientTLS = after.pod(t)
	change(t, b, cfg)
	reaches(t, b, "s", &in, "x")
	change(t, b, Config{URLs: cfg.URLs, ClientTLS: before.pod(t)})
	if s := b.State(); !s.Connected || s.Reconnects > 0 {
		t.Errorf("state %+v", s)
	}
}

func TestOtherFileOfCredentials(t *testing.T) {
	opts, err := server.ProcessConfigFile(filepath.Join("testdata", "operator.conf"))
	if err != nil {
		t.Fatal(err)
	}
	srv := external(t, "us", func(o *server.Options) {
		opts.ServerName, opts.Host, opts.Port, opts.NoSigs, opts.NoLog = o.ServerName, o.Host, o.Port, true, true
		*o = *opts
	})
	cfg := Config{URLs: []string{"nats://" + srv.Addr().String()}, Credentials: filepath.Join("testdata", "operator.conf")}
	b := open(t, cfg)
	testkit.Eventually(t, "reason", func() bool { return b.State().LastError != "" })
	cfg.Credentials = filepath.Join("testdata", "user.creds")
	change(t, b, cfg)
	testkit.Eventually(t, "connection", func() bool { return b.State().Connected })
}

func TestMoreRoutes(t *testing.T) {
	addresses := freePorts(t, 3)
	config := func(i int, routes ...string) Config {
		return Config{Name: fmt.Sprint("pod-", i), Listen: addresses[i], Routes: routes, Secret: testSecret}
	}
	pods := []*Bus{open(t, config(0)), open(t, config(1, addresses[0])), open(t, config(2))}
	meshed(t, "first", pods[:2]...)
	s := streamed(t, pods[0], pods[1], "s")
	change(t, pods[0], config(0, addresses[2]))
	meshed(t, "second", pods...)
	s.end(t)
}

// states collects the calls of OnState.
type states struct {
	mu   sync.Mutex
	list []bool
}

func (s *states) note(connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, connected)
}

func (s *states) expect(t *testing.T, want ...bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.list, want) {
		t.Errorf("OnState was called with %v, want %v", s.list, want)
	}
}

// Nothing is lost and nothing changes places while a pod goes to another address, or to another
// server.
func TestNewConnectionBeforeTheOldOneIsLeft(t *testing.T) {
	routes := freePorts(t, 2)
	start := func(i int) *server.Server {
		return external(t, "us", func(o *server.Options) {
			host, port, err := hostPort(routes[i])
			if err != nil {
				t.Fatal(err)
			}
			o.ServerName, o.Cluster.Host, o.Cluster.Port = fmt.Sprint("nats-", i), host, port
			o.Routes = []*url.URL{{Scheme: "nats-route", Host: routes[0]}}
		})
	}
	first, second := start(0), start(1)
	testkit.Eventually(t, "the route of the servers", func() bool { return first.NumRoutes() > 0 && second.NumRoutes() > 0 })
	listed := pod(t, "listed")
	tests := []struct {
		name          string
		before, after Config
		other         Config
	}{
		{
			"listen",
			Config{Listen: "127.0.0.1:0", Routes: []string{listed.State().Listen}, Secret: testSecret},
			Config{Listen: "127.0.0.1:0", Secret: testSecret},
			Config{},
		},
		{
			"nats",
			Config{URLs: []string{"nats://" + first.Addr().String()}},
			Config{URLs: []string{"nats://" + second.Addr().String()}},
			Config{URLs: []string{"nats://" + first.Addr().String()}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			told := new(states)
			tt.before.Name, tt.before.OnState = "it", told.note
			b, other := open(t, tt.before), listed
			patient(b)
			if tt.other.URLs != nil {
				other = open(t, tt.other)
			} else {
				tt.after.Listen, tt.after.Routes = freePorts(t, 1)[0], tt.before.Routes
			}
			old := b.State()
			out, in := streamed(t, b, other, "out"), streamed(t, other, b, "in")
			change(t, b, tt.after)
			now := b.State()
			var during inbox
			if _, err := b.Subscribe("later", during.take); err != nil {
				t.Fatal(err)
			}
			reaches(t, other, "later", &during, "x")
			out.end(t)
			in.end(t)
			if now.Listen == old.Listen && now.URL == old.URL || now.Reconnects > 0 {
				t.Errorf("state %+v, before %+v", now, old)
			}
			told.expect(t, true)
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.on[1] != nil || len(b.subs) != 2 {
				t.Errorf("%d subscriptions on %v", len(b.subs), b.on)
			}
		})
	}
}

// A port cannot be had twice: the old server is closed first, and what is published meanwhile
// waits. It waits for the subscriptions of the other pod, too, which are known a moment after the
// route is up: here there are many.
func TestNewServerOnTheSamePort(t *testing.T) {
	addresses := freePorts(t, 2)
	told := new(states)
	cfg := Config{Name: "a", Listen: addresses[0], Routes: []string{addresses[1], "127.0.0.1:1"}, Secret: testSecret, OnState: told.note}
	a := open(t, cfg)
	patient(a)
	b := open(t, Config{Name: "b", Listen: addresses[1], Secret: testSecret})
	for i := range 5000 {
		if _, err := b.Subscribe(fmt.Sprint("other.", i), func([]byte) {}); err != nil {
			t.Fatal(err)
		}
	}
	meshed(t, "first", a, b)
	s := streamed(t, a, b, "s")
	cfg.Routes = cfg.Routes[:1]
	change(t, a, cfg)
	s.end(t)
	meshed(t, "second", a, b)
	told.expect(t, true, false, true)
}

func TestChangeEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	b := open(t, Config{Listen: "127.0.0.1:0", Secret: testSecret})
	away := Config{URLs: []string{"nats://127.0.0.1:1"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Change(ctx, away); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	in := subscribe(t, b, "s")
	reaches(t, b, "s", in, "still here")
	changed := make(chan error)
	go func() { changed <- b.Change(t.Context(), away) }()
	testkit.Eventually(t, "the change", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.on[1] != nil
	})
	b.Close()
	if err := <-changed; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := b.Change(t.Context(), away); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	testkit.Eventually(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= before })
}
