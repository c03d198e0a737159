package replication

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

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// TestWatchedChannelsAtRestCostOneSumAPod also measures larger deployments, with
// ROLLCALL_REST="pods channels hosts seconds": what one pod sends, receives and computes in a
// second of virtual time, apart from heartbeats. Compare its CPU with that of the same pods without
// channels.
func TestWatchedChannelsAtRestCostOneSumAPod(t *testing.T) {
	pods, channels, hosts, seconds := 3, 2000, 4, 20
	sizes := os.Getenv("ROLLCALL_REST")
	if sizes != "" {
		if _, err := fmt.Sscan(sizes, &pods, &channels, &hosts, &seconds); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := &restNet{subs: make(map[string][]*restSub)}
		all := make([]*testPod, pods)
		ports := make([]*restPort, pods)
		for i := range all {
			ports[i] = n.port(t)
			all[i] = startOn(t, ports[i], fmt.Sprint("pod-", i), "a secret")
		}
		time.Sleep(3 * time.Second)
		names := make([]presence.HostName, hosts)
		for i := range names {
			names[i] = testkit.MustHost(t, fmt.Sprintf("host-%d.example.com", i))
		}
		for i, p := range all {
			for c := range channels {
				// Half of the channels are watched on all pods.
				room := place{names[c%hosts], fmt.Sprintf("room-%d-%d", c, i*(c%2))}
				p.enter(t, room, fmt.Sprint("user-", i), presence.WatchList)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2*timing.Default().Check + timing.Default().Linger)

		n.reset()
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		before := cpuTime()
		time.Sleep(time.Duration(seconds) * time.Second)
		spent := cpuTime() - before
		payloads, bytes := n.sent()
		perPod := float64(pods * seconds)
		subscriptions := 0
		for subject, list := range n.subs {
			if strings.Contains(subject, ".channel.") {
				subscriptions += len(list)
			}
		}
		t.Logf("%d pods, %d channels on %d hosts: a pod sends %.1f payloads and %.0f B a second, and has %d subscriptions; %.3f %% of a core, heap %.2f KB a channel",
			pods, channels, hosts, float64(payloads)/perPod, float64(bytes)/perPod, subscriptions/pods, 100*spent.Seconds()/perPod,
			float64(mem.HeapAlloc)/float64(max(1, channels)*pods)/1024)
		period := timing.Default().Check / slots * sumSlots
		pairs, periods := pods*(pods-1), seconds*int(time.Second)/int(period)
		if payloads < pairs*(periods-1) || payloads > pairs*(periods+1) {
			t.Errorf("%d payloads, want a sum for each other pod in each of %d periods", payloads, periods)
		}
	})
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// restNet is a network that counts payloads, apart from those to all.
type restNet struct {
	mu   sync.Mutex
	subs map[string][]*restSub
	all  []*restPort
}

type restPort struct {
	net             *restNet
	queue           chan func()
	payloads, bytes int // guarded by restNet.mu
}

type restSub struct {
	port   *restPort
	handle func([]byte)
}

func (n *restNet) port(t *testing.T) *restPort {
	p := &restPort{net: n, queue: make(chan func(), 1<<16)}
	n.all = append(n.all, p)
	go func() {
		for do := range p.queue {
			do()
		}
	}()
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		clear(n.subs)
		close(p.queue)
	})
	return p
}

// sent returns the number of payloads since reset, and their bytes.
func (n *restNet) sent() (payloads, bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.all {
		payloads, bytes = payloads+p.payloads, bytes+p.bytes
	}
	return payloads, bytes
}

func (n *restNet) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.all {
		p.payloads, p.bytes = 0, 0
	}
}

func (p *restPort) Publish(subject string, payload []byte) error {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if !strings.HasSuffix(subject, ".all") {
		p.payloads++
		p.bytes += len(payload)
	}
	for _, s := range n.subs[subject] {
		s.port.queue <- func() { s.handle(payload) }
	}
	return nil
}

func (p *restPort) Subscribe(subject string, handle func([]byte)) (cancel func(), err error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	sub := &restSub{p, handle}
	n.subs[subject] = append(n.subs[subject], sub)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.subs[subject] = slices.DeleteFunc(n.subs[subject], func(s *restSub) bool { return s == sub })
	}, nil
}

var _ link.Transport = (*restPort)(nil)
