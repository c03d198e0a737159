package cluster

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// growthNet is a network that loses nothing. It counts what it carries.
type growthNet struct {
	mu       sync.Mutex
	subs     map[string][]*growthSub // by subject; guarded by mu
	payloads int                     // payloads to other pods, one for each pod that receives it; guarded by mu
	bytes    int                     // of them, with subjects; guarded by mu
	subjects int                     // subscriptions; guarded by mu
}

// growthPort is the transport of a pod.
type growthPort struct {
	net  *growthNet
	wake chan struct{}

	mu    sync.Mutex
	queue []growthParcel // guarded by mu
}

type growthSub struct {
	port   *growthPort
	handle func(payload []byte)
}

type growthParcel struct {
	sub     *growthSub
	payload []byte
}

// run handles payloads until done is closed.
func (p *growthPort) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-p.wake:
		}
		p.mu.Lock()
		list := p.queue
		p.queue = nil
		p.mu.Unlock()
		for _, parcel := range list {
			parcel.sub.handle(parcel.payload)
		}
	}
}

// Publish implements link.Transport.
func (p *growthPort) Publish(subject string, payload []byte) error {
	const overhead = 12 // bytes of NATS: a verb, a length and two line ends
	p.net.mu.Lock()
	to := slices.Clone(p.net.subs[subject])
	for _, sub := range to {
		if sub.port != p {
			p.net.payloads++
			p.net.bytes += len(subject) + len(payload) + overhead
		}
	}
	p.net.mu.Unlock()
	for _, sub := range to {
		sub.port.mu.Lock()
		sub.port.queue = append(sub.port.queue, growthParcel{sub, slices.Clone(payload)})
		sub.port.mu.Unlock()
		select {
		case sub.port.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Subscribe implements link.Transport.
func (p *growthPort) Subscribe(subject string, handle func(payload []byte)) (cancel func(), err error) {
	sub := &growthSub{p, handle}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.net.subs[subject] = append(p.net.subs[subject], sub)
	p.net.subjects++
	return sync.OnceFunc(func() {
		p.net.mu.Lock()
		defer p.net.mu.Unlock()
		p.net.subs[subject] = slices.DeleteFunc(p.net.subs[subject], func(s *growthSub) bool { return s == sub })
		p.net.subjects--
	}), nil
}

// growthShown is an encoder that counts the members that a pod shows.
type growthShown struct {
	clustertest.Encoder

	mu      sync.Mutex
	counts  map[string]int // of each channel; guarded by mu
	members int            // sum of counts; guarded by mu
}

func (s *growthShown) Members([]presence.View, presence.Fields) []byte { return nil }

func (s *growthShown) Joined(j presence.Joined) []byte {
	if j.Watch != presence.WatchNone {
		s.set(j.Channel, j.Count)
	}
	return nil
}

func (s *growthShown) Presence(d presence.Diff) []byte {
	s.set(d.Channel, d.Count)
	return nil
}

func (s *growthShown) set(channel string, members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members += members - s.counts[channel]
	s.counts[channel] = members
}

func (s *growthShown) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members
}

// growthSize is a deployment. Every pod watches the channels of its group, and has one member of
// each. All channels are of one host.
type growthSize struct{ pods, channels int }

// growthGroup is the maximum number of pods of a group.
const growthGroup = 10

func (s growthSize) group() int { return min(growthGroup, s.pods) }

// growthCost is what a pod uses in a second. CPU is that of the process, without NATS.
type growthCost struct{ payloads, bytes, cpu float64 } // cpu in percent of a core

func (c growthCost) String() string {
	return fmt.Sprintf("%.1f | %.1f | %.3f", c.payloads, c.bytes/1000, c.cpu)
}

type growthPod struct {
	registry *presence.Registry
	shown    *growthShown
}

type growthRun struct {
	size growthSize
	net  *growthNet
	pods []growthPod
	host presence.HostName
	came int // guests who have joined
}

// startGrowth starts the pods, and watches the channels.
func startGrowth(t *testing.T, size growthSize) *growthRun {
	t.Helper()
	r := &growthRun{size: size, host: mustHost(t, "portal.example.com"), net: &growthNet{subs: make(map[string][]*growthSub)}}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) }) // after all pods are closed
	for i := range size.pods {
		p := growthPod{shown: &growthShown{counts: make(map[string]int)}}
		p.registry = presence.NewRegistry(p.shown)
		port := &growthPort{net: r.net, wake: make(chan struct{}, 1)}
		go port.run(done)
		cfg := Config{DataCenter: "dc", Pod: fmt.Sprintf("pod-%d", i), Secret: "of the growth"}
		c, err := start(cfg, port, p.registry, &labLocal{}, timing.Default())
		if err != nil {
			t.Fatal(err)
		}
		c.SetSites([]message.Site{{}})
		t.Cleanup(func() { _ = c.Close() })
		r.pods = append(r.pods, p)
	}
	time.Sleep(10 * time.Second)
	for i, p := range r.pods {
		// At the same moment, all pods would check all channels of all others, and check anew what
		// overflows their queues.
		time.Sleep(time.Second)
		u := presence.User{ID: fmt.Sprintf("watcher-%d", i), Email: fmt.Sprintf("watcher.%d@customers.example.com", i)}
		conn, err := p.registry.Connect(r.host, &presence.Rules{}, &u, clustertest.Outbox{})
		if err != nil {
			t.Fatal(err)
		}
		for c := range size.channels {
			if err := conn.Join(r.channel(i, c), presence.WatchList, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(20 * time.Second)
	r.wantShown(t)
	return r
}

func (r *growthRun) channel(pod, i int) string {
	return fmt.Sprintf("order-%d-%d", pod/r.size.group(), i)
}

// join makes n guests join, of all pods and channels in turn, 100 of them a second.
func (r *growthRun) join(t *testing.T, n int) {
	t.Helper()
	for range n {
		time.Sleep(10 * time.Millisecond)
		i := r.came % r.size.pods
		u := presence.User{ID: fmt.Sprintf("guest-%d", r.came), Email: fmt.Sprintf("guest.%d@customers.example.com", r.came)}
		conn, err := r.pods[i].registry.Connect(r.host, &presence.Rules{}, &u, clustertest.Outbox{})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Join(r.channel(i, r.came/r.size.pods%r.size.channels), presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		r.came++
	}
}

// wantShown compares the members that all pods show with those who have joined. Every member is
// shown by the pods of its group.
func (r *growthRun) wantShown(t *testing.T) {
	t.Helper()
	synctest.Wait()
	got, want := 0, (r.size.pods*r.size.channels+r.came)*r.size.group()
	for _, p := range r.pods {
		got += p.shown.total()
	}
	if got != want {
		t.Errorf("all pods show %d members, want %d", got, want)
	}
}

// cost returns the cost of what during does.
func (r *growthRun) cost(t *testing.T, during func()) growthCost {
	t.Helper()
	read := func() (payloads, bytes int, cpu time.Duration) {
		synctest.Wait()
		r.net.mu.Lock()
		defer r.net.mu.Unlock()
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return r.net.payloads, r.net.bytes, time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := time.Now()
	payloads, bytes, cpu := read()
	during()
	payloads2, bytes2, cpu2 := read()
	each := time.Since(start).Seconds() * float64(r.size.pods)
	return growthCost{float64(payloads2-payloads) / each, float64(bytes2-bytes) / each, 100 * (cpu2 - cpu).Seconds() / each}
}

// growthFigures are of each pod.
type growthFigures struct {
	rest, busy    growthCost
	subscriptions int
}

// measureGrowth runs a deployment for 20 s at rest, and for 20 s with 100 joins a second.
func measureGrowth(t *testing.T, size growthSize) (f growthFigures) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := startGrowth(t, size)
		runtime.GC()
		f.rest = r.cost(t, func() { time.Sleep(20 * time.Second) })
		f.busy = r.cost(t, func() { r.join(t, 2000) })
		time.Sleep(time.Second)
		r.wantShown(t)
		f.subscriptions = r.net.subjects / size.pods
	})
	return f
}

// TestGrowth compares a deployment with one that watches ten times the channels: at rest, that
// costs no more payloads, bytes and subscriptions. With ROLLCALL_GROWTH, which has sizes of
// deployments like "100x1000,10x10000" for pods and the channels of each, it writes a table of
// their costs instead.
func TestGrowth(t *testing.T) {
	if text := os.Getenv("ROLLCALL_GROWTH"); text != "" {
		printGrowth(t, text)
		return
	}
	few, many := measureGrowth(t, growthSize{4, 100}), measureGrowth(t, growthSize{4, 1000})
	t.Logf("100 channels: %+v, 1,000: %+v", few, many)
	const most = 1.1 // news and heartbeats are not the same in both
	if many.rest.payloads > most*few.rest.payloads || many.rest.bytes > most*few.rest.bytes {
		t.Errorf("at rest, 1,000 channels cost %+v, and 100 channels %+v", many.rest, few.rest)
	}
	if many.subscriptions > few.subscriptions+presence.ChannelShards {
		t.Errorf("%d subscriptions for 1,000 channels, %d for 100", many.subscriptions, few.subscriptions)
	}
}

func printGrowth(t *testing.T, sizes string) {
	t.Helper()
	fmt.Println("| pods | channels | at rest: payloads/s | KB/s | CPU, % | 100 joins/s: payloads/s | KB/s | CPU, % | subscriptions |")
	fmt.Println("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for size := range strings.SplitSeq(sizes, ",") {
		var s growthSize
		if _, err := fmt.Sscanf(size, "%dx%d", &s.pods, &s.channels); err != nil {
			t.Fatalf("ROLLCALL_GROWTH: %q is not PODSxCHANNELS", size)
		}
		f := measureGrowth(t, s)
		fmt.Printf("| %d | %d | %s | %s | %d |\n", s.pods, s.channels, f.rest, f.busy, f.subscriptions)
	}
}
