package query

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// wires is a network whose ports copy each payload once for each receiver.
type wires struct {
	mu    sync.Mutex
	ports []*wire
}

// wire implements link.Transport.
type wire struct {
	of    *wires
	queue chan func()

	handlers map[string]func(payload []byte) // guarded by of.mu
}

func (n *wires) port(tb testing.TB) *wire {
	p := &wire{of: n, queue: make(chan func(), 1<<12), handlers: make(map[string]func(payload []byte))}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = append(n.ports, p)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case f := <-p.queue:
				f()
			}
		}
	}()
	tb.Cleanup(func() { close(done) })
	return p
}

func (p *wire) Publish(subject string, payload []byte) error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	for _, to := range p.of.ports {
		if handle := to.handlers[subject]; handle != nil {
			copied := bytes.Clone(payload)
			select {
			case to.queue <- func() { handle(copied) }:
			default: // a pod that is too slow loses payloads, as with NATS
			}
		}
	}
	return nil
}

func (p *wire) Subscribe(subject string, handle func(payload []byte)) (cancel func(), err error) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.handlers[subject] = handle
	return func() {}, nil
}

// BenchmarkAllUsers counts the users of a host that are spread over ten pods. peak-MB is how much
// the heap of all pods together grows at most, nearly without garbage, in a round that is not
// timed. With ten million users, collecting the garbage that often takes longer than a pod may take
// to answer.
func BenchmarkAllUsers(b *testing.B) {
	const pods = 10
	for _, users := range []int{1_000, 100_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			if users > 1_000_000 && testing.Short() {
				b.Skip("takes 6 GB")
			}
			a := crowd(b, pods, users)
			host := testkit.MustHost(b, "example.com")
			ask := func() {
				dcs, truth := a.AllUsers(b.Context(), host, false, presence.PerUser)
				if !truth.Complete || len(dcs) != 1 || dcs[0].Authenticated != users {
					b.Fatalf("%+v, %+v", dcs, truth)
				}
				a.queries.mu.Lock()
				clear(a.queries.shared) // the next answer is a new one
				a.queries.mu.Unlock()
			}
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
			if users > 1_000_000 {
				return
			}
			defer debug.SetGCPercent(debug.SetGCPercent(2))
			stop, peak := watchHeap()
			ask()
			close(stop)
			b.ReportMetric(float64(<-peak)/(1<<20), "peak-MB")
		})
	}
}

// crowd starts pods with distinct users, and returns the one that asks.
func crowd(b *testing.B, pods, users int) *testPod {
	tm := timing.Default()
	tm.Timeout = time.Minute // a late reply makes a figure, not an error
	n := new(wires)
	host := testkit.MustHost(b, "example.com")
	var list []*testPod
	for i := range pods {
		registry := presence.NewRegistry(clustertest.Encoder{})
		for u := range users / pods {
			user := presence.User{ID: fmt.Sprintf("user-%d-%d", i, u)}
			if _, err := registry.Connect(host, &presence.Rules{}, &user, clustertest.Outbox{}); err != nil {
				b.Fatal(err)
			}
		}
		list = append(list, start(b, n.port(b), registry, "dc", fmt.Sprint(i), tm))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if list[0].members.Ready() && len(list[0].members.All()) == pods-1 {
			return list[0]
		}
		if time.Now().After(deadline) {
			b.Fatal("the pods do not know each other")
		}
	}
}

// watchHeap measures by how many bytes the heap grows at most until stop is closed.
func watchHeap() (stop chan struct{}, peak chan uint64) {
	runtime.GC()
	stop, peak = make(chan struct{}), make(chan uint64, 1)
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		most := before.HeapAlloc
		for {
			select {
			case <-stop:
				peak <- most - before.HeapAlloc
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
	}()
	return stop, peak
}
