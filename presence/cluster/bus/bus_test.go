package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

const testSecret = "a secret of the tests"

func open(t *testing.T, cfg Config) *Bus {
	t.Helper()
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// pod opens a bus with a server that listens on loopback.
func pod(t *testing.T, name string, routes ...string) *Bus {
	t.Helper()
	return open(t, Config{Name: name, Listen: "127.0.0.1:0", Routes: routes, Secret: testSecret})
}

// inbox collects payloads.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) take(p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, string(p))
}

func (i *inbox) has(payload string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.got, payload)
}

func (i *inbox) all() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.got)
}

func subscribe(t *testing.T, b *Bus, subject string) *inbox {
	t.Helper()
	var in inbox
	if _, err := b.Subscribe(subject, in.take); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	return &in
}

// reaches waits until what from publishes arrives.
func reaches(t *testing.T, from *Bus, subject string, in *inbox, payload string) {
	t.Helper()
	testkit.Eventually(t, "payload "+payload, func() bool {
		_ = from.Publish(subject, []byte(payload)) // it may be disconnected still
		return in.has(payload)
	})
}

func TestAloneListensToNothing(t *testing.T) {
	b := open(t, Config{Name: "alone"})
	s := b.State()
	if !s.Connected || !s.Embedded || s.Server != "alone" || s.Listen != "" || s.RoundTrip <= 0 || len(s.Routes) != 0 {
		t.Errorf("state %+v", s)
	}
	if a := b.conn.Load().server.Addr(); a != nil {
		t.Errorf("listens for clients on %v", a)
	}
	if a := b.conn.Load().server.ClusterAddr(); a != nil {
		t.Errorf("listens for routes on %v", a)
	}
	in := subscribe(t, b, "s")
	if err := b.Publish("s", []byte("to myself")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "payload", func() bool { return in.has("to myself") })
}

func TestPodListensForRoutesOnly(t *testing.T) {
	b := pod(t, "a")
	if a := b.conn.Load().server.Addr(); a != nil {
		t.Errorf("listens for clients on %v", a)
	}
	if a := b.conn.Load().server.MonitorAddr(); a != nil {
		t.Errorf("listens for monitoring on %v", a)
	}
	if b.State().Listen != b.conn.Load().server.ClusterAddr().String() {
		t.Errorf("state %+v", b.State())
	}
	if b.conn.Load().server.JetStreamEnabled() {
		t.Error("JetStream is on")
	}
}

func TestOrderAndSize(t *testing.T) {
	a := pod(t, "a")
	b := pod(t, "b", a.State().Listen)
	const n, size = 40, 512 << 10
	var next, wrong, running atomic.Int64
	_, err := b.Subscribe("big", func(p []byte) {
		if running.Add(1) != 1 {
			t.Error("two takers at a time")
		}
		defer running.Add(-1)
		if len(p) < size || int64(binary.BigEndian.Uint64(p)) != next.Load() || !bytes.Equal(p[8:16], p[size-8:]) {
			wrong.Add(1)
		}
		next.Add(1)
		p[0] = 0xff // it is the taker's
	})
	if err != nil {
		t.Fatal(err)
	}
	in := subscribe(t, b, "hello")
	reaches(t, a, "hello", in, "x")
	for i := range uint64(n) {
		p := bytes.Repeat([]byte{byte(i)}, size)
		binary.BigEndian.PutUint64(p, i)
		if err := a.Publish("big", p); err != nil {
			t.Fatal(err)
		}
		// The route takes what 64 MB of buffer hold: wait for the taker now and then.
		testkit.Eventually(t, "taker", func() bool { return int64(i)-next.Load() < 20 })
	}
	testkit.Eventually(t, "last payload", func() bool { return next.Load() == n })
	if wrong.Load() != 0 {
		t.Errorf("%d payloads out of order or changed", wrong.Load())
	}
	if d := b.State().Dropped; d != 0 {
		t.Errorf("%d dropped", d)
	}
	if err := a.Publish("big", make([]byte, 2<<20)); err == nil {
		t.Error("2 MB were taken")
	}
}

func TestCancelEndsDelivery(t *testing.T) {
	b := open(t, Config{})
	var n atomic.Int64
	var cancel func()
	ready := make(chan struct{})
	cancel, err := b.Subscribe("s", func([]byte) {
		<-ready
		n.Add(1)
		cancel()
		cancel() // twice does nothing
	})
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	in := subscribe(t, b, "s")
	for i := range 100 {
		if err := b.Publish("s", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all payloads", func() bool { return len(in.all()) == 100 })
	if n.Load() != 1 {
		t.Errorf("taken %d times", n.Load())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) != 1 {
		t.Errorf("%d subscriptions are held", len(b.subs))
	}
}

func TestStuckTakerHasPayloadsDroppedAndCounted(t *testing.T) {
	b := open(t, Config{})
	release := make(chan struct{})
	var n atomic.Int64
	cancel, err := b.Subscribe("s", func([]byte) {
		<-release
		n.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	other := subscribe(t, b, "other")
	const extra = 1000
	for range maxPendingMessages + extra {
		if err := b.Publish("s", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish("other", []byte("last")); err != nil {
		t.Fatal(err)
	}
	// The others are served while one is stuck.
	testkit.Eventually(t, "payload of another subject", func() bool { return other.has("last") })
	dropped := b.State().Dropped
	if dropped != extra {
		t.Errorf("dropped %d, want %d", dropped, extra)
	}
	testkit.Eventually(t, "last error", func() bool { return b.State().LastError != "" })
	close(release)
	testkit.Eventually(t, "the rest", func() bool { return n.Load() == maxPendingMessages })
	cancel()
	if got := b.State().Dropped; got != dropped {
		t.Errorf("dropped %d after cancel, want %d", got, dropped)
	}
}

func TestClosed(t *testing.T) {
	var calls, up atomic.Int64
	b := open(t, Config{OnState: func(connected bool) {
		calls.Add(1)
		if connected {
			up.Add(1)
		}
	}})
	if calls.Load() != 1 || up.Load() != 1 {
		t.Errorf("OnState was called %d times, %d with true", calls.Load(), up.Load())
	}
	b.Close()
	b.Close()
	if err := b.Publish("s", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.Subscribe("s", func([]byte) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if err := b.Flush(); !errors.Is(err, ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	if s := b.State(); s.Connected {
		t.Errorf("state %+v", s)
	}
	if calls.Load() != 1 {
		t.Errorf("OnState was called %d times", calls.Load())
	}
}

func TestCloseByTaker(t *testing.T) {
	b := open(t, Config{})
	done := make(chan struct{})
	if _, err := b.Subscribe("s", func([]byte) { b.Close(); close(done) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("s", nil); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "close", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

func TestCloseSendsWhatWasPublished(t *testing.T) {
	a := pod(t, "a")
	b := pod(t, "b", a.State().Listen)
	in := subscribe(t, a, "s")
	reaches(t, b, "s", in, "hello")
	if err := b.Publish("s", []byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	testkit.Eventually(t, "goodbye", func() bool { return in.has("goodbye") })
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		a := pod(t, "a")
		address := a.State().Listen
		b := pod(t, "b", address, "127.0.0.1:1")
		in := subscribe(t, a, "s")
		reaches(t, b, "s", in, "x")
		away := open(t, Config{URLs: []string{"nats://127.0.0.1:1"}})
		a.Close()
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
		_ = l.Close() // it was listening
		b.Close()
		away.Close()
	}
	testkit.Eventually(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestPortInUse(t *testing.T) {
	a := pod(t, "a")
	before := runtime.NumGoroutine()
	_, err := Open(Config{Listen: a.State().Listen, Secret: testSecret})
	if err == nil || !strings.Contains(err.Error(), a.State().Listen) || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("error %v", err)
	}
	testkit.Eventually(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

func TestUnknownListenHost(t *testing.T) {
	_, err := Open(Config{Listen: "192.0.2.1:0", Secret: testSecret}) // RFC 5737: nobody's
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:0") {
		t.Fatalf("error %v", err)
	}
}

func TestNothingIsKeptWithoutConnection(t *testing.T) {
	var states []bool
	b := open(t, Config{URLs: []string{"nats://127.0.0.1:1"}, Logger: zap.NewNop(), OnState: func(c bool) { states = append(states, c) }})
	if err := b.Publish("s", nil); !errors.Is(err, ErrDisconnected) {
		t.Errorf("publish: %v", err)
	}
	if err := b.Flush(); !errors.Is(err, ErrDisconnected) {
		t.Errorf("flush: %v", err)
	}
	testkit.Eventually(t, "reason", func() bool { return b.State().LastError != "" })
	if b.State().Connected {
		t.Error("connected to nobody")
	}
	b.Close()
	if len(states) != 1 || states[0] {
		t.Errorf("states %v", states)
	}
}

func TestSubscriptionsAreCounted(t *testing.T) {
	b := open(t, Config{Name: "alone"})
	cancel, err := b.Subscribe("s", func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	subscribe(t, b, "t")
	if n := b.State().Subscriptions; n != 2 {
		t.Errorf("%d subscriptions, want 2", n)
	}
	cancel()
	cancel()
	if n := b.State().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions after one has ended, want 1", n)
	}
}
