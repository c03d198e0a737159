package gateway

import (
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// ownsAll is a configuration with one site, for every host.
type ownsAll struct{ of *site.Site }

func (o ownsAll) Find(presence.HostName) *site.Site    { return o.of }
func (o ownsAll) Claimed(string) *site.Site            { return o.of }
func (o ownsAll) Names() iter.Seq2[string, *site.Site] { return func(func(string, *site.Site) bool) {} }

// joiningPods are a cluster that is joined when ready says so. Other methods are not called.
type joiningPods struct {
	Pods
	ready, begins atomic.Bool
}

func (p *joiningPods) SetSites([]message.Site) {}

func (p *joiningPods) Begins(presence.HostName) bool { return p.begins.Load() }
func (p *joiningPods) Ready() bool                   { return p.ready.Load() }
func (p *joiningPods) Drain()                        {}
func (p *joiningPods) Leave(bool) error              { return nil }
func (p *joiningPods) Close() error                  { return nil }

// A pod that starts refuses messages until it has joined its cluster, at most for five seconds.
// From then on it takes them, whatever becomes of the cluster.
func TestMessagesWaitForTheCluster(t *testing.T) {
	const never = time.Hour
	failing := errors.New("no NATS today")
	for _, test := range []struct {
		name   string
		alone  bool
		err    error         // of each start of the cluster
		joined time.Duration // time from the start until the cluster is joined
		opened time.Duration // time from the start until messages are taken
		reload time.Duration // time of a reload that changes the cluster; 0 for none
	}{
		{name: "alone", alone: true},
		{name: "joined at once"},
		{name: "joined soon", joined: 1500 * time.Millisecond, opened: 1500 * time.Millisecond},
		{name: "joined late", joined: 7 * time.Second, opened: maxStarting},
		{name: "never joined", joined: never, opened: maxStarting},
		{name: "never started", err: failing, joined: never, opened: maxStarting},
		{name: "another cluster, before it is joined", joined: never, opened: maxStarting, reload: time.Second},
		{name: "another cluster, once it is joined", joined: time.Second, opened: time.Second, reload: 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, of := newTestHub(t), testSite()
				of.Clustered = !test.alone
				if h.CheckSend(of) == nil != test.alone {
					t.Errorf("before the start, the error is %v", h.CheckSend(of))
				}
				start, reloaded := time.Now(), false
				var pods []*joiningPods
				h.StartPods = func(cluster.Config) (Pods, error) {
					if test.err != nil {
						return nil, test.err
					}
					p := new(joiningPods)
					if pods = append(pods, p); len(pods) == 1 && test.joined == 0 {
						p.ready.Store(true)
					}
					return p, nil
				}
				configuration := func(sum byte) *Configuration {
					c := &Configuration{Owners: ownsAll{of}, Logger: zap.NewNop(), Retired: of.Retired}
					if !test.alone {
						c.Cluster = &ClusterSettings{Config: cluster.Config{Pod: string('a' + rune(sum))}, Sum: [32]byte{sum}}
					}
					return c
				}
				now := configuration(1)
				h.Offer(now)
				for at := time.Duration(0); at < 12*time.Second; at += 250 * time.Millisecond {
					time.Sleep(time.Until(start.Add(at)))
					synctest.Wait()
					if test.reload > 0 && at >= test.reload && !reloaded {
						reloaded = true
						next := configuration(2)
						h.Offer(next)
						h.TakeBack(now)
						now = next
					}
					if at >= test.joined && !reloaded && len(pods) > 0 {
						pods[0].ready.Store(true)
					}
					err := h.CheckSend(of)
					if open := at >= test.opened; open != (err == nil) || h.Starting() == open || !open && codeOf(err) != "unavailable" {
						t.Fatalf("after %s, the error is %v, and starting is %t", at, err, h.Starting())
					}
				}
				h.TakeBack(now)
				if err := h.Destruct(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An answer that needs other pods waits for the start of the cluster, for a second at most.
func TestAnswersWaitForTheStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		alone bool
		at    time.Duration // time of the start of the cluster
		err   error         // of the start
		stop  bool          // the configuration ends before the answer
		want  time.Duration // time of the answer
		asks  bool          // the answer asks other pods
	}{
		{name: "alone", alone: true, at: time.Hour},
		{name: "started before", asks: true},
		{name: "HTTP is first", at: 300 * time.Millisecond, want: 300 * time.Millisecond, asks: true},
		{name: "failed", at: 300 * time.Millisecond, err: errors.New("no NATS today"), want: 300 * time.Millisecond},
		{name: "late", at: 2 * time.Second, want: maxAwaitCluster},
		{name: "stopped", stop: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, of := newTestHub(t), testSite()
				of.Clustered = !test.alone
				h.StartPods = func(cluster.Config) (Pods, error) { return new(joiningPods), test.err }
				now := &Configuration{Owners: ownsAll{of}, Logger: zap.NewNop(), Retired: of.Retired}
				now.Cluster = &ClusterSettings{Sum: [32]byte{1}}
				start := time.Now()
				offer := func() {
					time.Sleep(test.at)
					h.Offer(now)
				}
				if test.at == 0 {
					offer()
				} else if !test.alone {
					go offer()
				}
				if test.stop {
					h.TakeBack(now)
				}
				pods, truth := h.PodsToAsk(of, cluster.ScopeAll)
				if took := time.Since(start); took < test.want || took > test.want+10*time.Millisecond {
					t.Errorf("the answer came after %s, want %s", took, test.want)
				}
				if asks := pods != nil; asks != test.asks || truth.Complete != test.alone {
					t.Errorf("it asks others: %t, and is complete: %t", asks, truth.Complete)
				}
				time.Sleep(test.at)
				h.TakeBack(now)
				if err := h.Destruct(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
