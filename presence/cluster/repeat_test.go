package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// inTime is the maximum time until an unanswered question has its answer, if the pod can be reached
// when it is repeated.
const inTime = 400 * time.Millisecond

// watch connects a user that watches the room of a host, with a grace period of 3 s.
func (p *labPod) watch(t *testing.T, host presence.HostName, id string, watch presence.Watch) (*presence.Conn, *clustertest.Frames) {
	t.Helper()
	frames := new(clustertest.Frames)
	rules := &presence.Rules{Grace: 3 * time.Second}
	conn, err := p.reg.Connect(host, rules, &presence.User{ID: id}, frames)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Join("room", watch, ""); err != nil {
		t.Fatal(err)
	}
	return conn, frames
}

// loseAll makes the network lose everything to the pod for d.
func (p *labPod) loseAll(d time.Duration) {
	p.port.Lose(func(message.Message) bool { return true })
	time.AfterFunc(d, func() { p.port.Lose(nil) })
}

// loseChecks makes the network lose all checks that the pod should receive for d.
func (p *labPod) loseChecks(d time.Duration) {
	p.port.Lose(func(m message.Message) bool {
		_, check := m.(*message.Check)
		return check
	})
	time.AfterFunc(d, func() { p.port.Lose(nil) })
}

// manyHosts returns hosts of which each has another turn in the round of checks.
func manyHosts(t *testing.T) []presence.HostName {
	t.Helper()
	hosts := make([]presence.HostName, 20)
	for i := range hosts {
		hosts[i] = mustHost(t, fmt.Sprintf("host-%d.example.com", i))
	}
	return hosts
}

// Users whose pod restarts, and who are back at once, never left for the watchers of another pod.
// That pod does not receive the change with which they are back, and the new run ignores its checks
// for a while, because neither knows the other yet.
func TestRollingRestartGivesNoFalseLeft(t *testing.T) {
	for _, unknown := range []time.Duration{0, 700 * time.Millisecond, time.Second, 2 * time.Second} {
		t.Run(fmt.Sprintf("unknown for %v", unknown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				a, b := n.start(t, "dc", "a"), n.start(t, "dc", "b")
				time.Sleep(3 * time.Second)
				hosts := manyHosts(t)
				views := make([]*clustertest.Frames, len(hosts))
				for i, host := range hosts {
					b.watch(t, host, "bob", presence.WatchNone)
					_, views[i] = a.watch(t, host, "ann", presence.WatchList)
				}
				time.Sleep(3 * time.Second)
				b.Drain()
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
				a.loseAll(100 * time.Millisecond)
				again := n.start(t, "dc", "b")
				again.loseChecks(unknown)
				for _, host := range hosts {
					again.watch(t, host, "bob", presence.WatchNone)
				}
				time.Sleep(10 * time.Second)
				for i, view := range views {
					if got, want := view.Lines(), []string{"room: ann bob"}; !slices.Equal(got, want) {
						t.Errorf("%v: the watcher saw %q, want %q", hosts[i], got, want)
					}
				}
			})
		})
	}
}

func TestFirstJoinGetsTheAnswerOfARepeatedCheck(t *testing.T) {
	for _, dc := range []string{"x", "y"} {
		t.Run("pod in "+dc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, host := &lab{}, mustHost(t, "example.com")
				a, b := n.start(t, "x", "a"), n.start(t, dc, "b")
				time.Sleep(3 * time.Second)
				b.watch(t, host, "bob", presence.WatchNone)
				b.loseAll(100 * time.Millisecond)
				_, view := a.watch(t, host, "ann", presence.WatchList)
				time.Sleep(inTime)
				if got, want := view.Lines(), []string{"room: ann bob"}; !slices.Equal(got, want) {
					t.Errorf("the watcher saw %q, want %q", got, want)
				}
			})
		})
	}
}

// crowd connects users whose list takes several payloads, and returns their IDs.
func (p *labPod) crowd(t *testing.T, host presence.HostName) []string {
	t.Helper()
	ids := make([]string, 6000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%0200d", i)
		p.connect(t, host, ids[i], "", "room")
	}
	return ids
}

func TestLostPartOfAnAnswerToACheckIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := &lab{}, mustHost(t, "example.com")
		a, b := n.start(t, "dc", "a"), n.start(t, "dc", "b")
		time.Sleep(3 * time.Second)
		ids := b.crowd(t, host)
		time.Sleep(time.Second)
		lost := 0
		a.port.Lose(func(m message.Message) bool {
			d, ok := m.(*message.Delta)
			if !ok || d.Part != 1 || lost > 0 {
				return false
			}
			lost++
			return true
		})
		_, view := a.watch(t, host, "ann", presence.WatchList)
		time.Sleep(inTime)
		want := "room: " + strings.Join(append(ids, "ann"), " ")
		if got := view.Lines(); len(got) != 1 || got[0] != want || lost != 1 {
			t.Errorf("%d frames, %d lost parts", len(got), lost)
		}
	})
}

func TestUnansweredQueryIsRepeated(t *testing.T) {
	part := func(m message.Message) bool {
		r, ok := m.(*message.Reply)
		return ok && r.Try == 0 && r.Part == 1
	}
	for _, tc := range []struct {
		name string
		lose func(a, b *labPod)
	}{
		{"the other pod does not know this one yet", func(_, b *labPod) { b.loseAll(100 * time.Millisecond) }},
		{"a part of the reply is lost", func(a, _ *labPod) { a.port.Lose(part) }},
		{"the whole reply is lost", func(a, _ *labPod) { a.loseAll(100 * time.Millisecond) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, host := &lab{}, mustHost(t, "example.com")
				a, b := n.start(t, "dc", "a"), n.start(t, "dc", "b")
				time.Sleep(3 * time.Second)
				ids := b.crowd(t, host)
				tc.lose(a, b)
				before, began := a.link.Ignored(), time.Now()
				time.AfterFunc(100*time.Millisecond, func() { b.connect(t, host, "late", "") }) // for the second reply
				dcs, truth := a.AllUsers(t.Context(), host, true, presence.PerUser)
				if took := time.Since(began); took > inTime {
					t.Errorf("took %v", took)
				}
				if !truth.Complete || len(dcs) != 1 || len(dcs[0].Users) != len(ids)+1 {
					t.Errorf("%+v, %d data centers", truth, len(dcs))
				}
				time.Sleep(3 * time.Second)
				if got := a.link.Ignored(); got != before {
					t.Errorf("ignored: %+v", got)
				}
			})
		})
	}
}

// A pod that was stopped for so long that the others count it as lost, and whose checks they ignore
// until they know it again, sees what has changed meanwhile. Its users have a grace period from
// then on.
func TestPausedPodSeesTheTruthSoon(t *testing.T) {
	for _, unknown := range []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(fmt.Sprintf("unknown for %v", unknown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				var stopped atomic.Pointer[chan struct{}] // closed when the process continues; nil if it runs
				a := n.start(t, "dc", "a", func(_ *Config, tm *timing.Timing) {
					tm.Stall = func() {
						if c := stopped.Load(); c != nil {
							<-*c
						}
					}
				})
				b := n.start(t, "dc", "b")
				time.Sleep(3 * time.Second)
				hosts := manyHosts(t)
				views := make([]*clustertest.Frames, len(hosts))
				conns := make([]*presence.Conn, len(hosts))
				for i, host := range hosts {
					conns[i], _ = b.watch(t, host, "bob", presence.WatchNone)
					_, views[i] = a.watch(t, host, "ann", presence.WatchList)
				}
				time.Sleep(3 * time.Second)

				resume := make(chan struct{})
				stopped.Store(&resume)
				a.port.SetError(errSimDead)
				a.port.Lose(func(message.Message) bool { return true })
				time.Sleep(10 * time.Second)
				b.wantState(t, a.link.Self(), "unreachable")
				for i, host := range hosts {
					b.watch(t, host, "cid", presence.WatchNone)
					conns[i].Close()
				}
				time.Sleep(10 * time.Second)
				b.loseChecks(unknown)
				a.port.Lose(nil)
				a.port.SetError(nil)
				close(resume)
				time.Sleep(2 * time.Second)
				for i, view := range views {
					if got, want := view.Lines(), []string{"room: ann bob", "room +cid"}; !slices.Equal(got, want) {
						t.Errorf("%v: the watcher saw %q, want %q", hosts[i], got, want)
					}
				}
				time.Sleep(3 * time.Second)
				for i, view := range views {
					if got, want := view.Lines(), []string{"room: ann bob", "room +cid", "room -bob"}; !slices.Equal(got, want) {
						t.Errorf("%v: the watcher saw %q, want %q", hosts[i], got, want)
					}
				}
			})
		})
	}
}

// Without loss, each query is one payload, and each check is sent once.
func TestWithoutLossNothingIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		pods := []*labPod{n.start(t, "x", "a"), n.start(t, "x", "b"), n.start(t, "y", "c")}
		time.Sleep(3 * time.Second)
		hosts, queries := manyHosts(t), 0
		for range 10 {
			for i, host := range hosts {
				conn, _ := pods[i%3].watch(t, host, "ann", presence.WatchList)
				pods[(i+1)%3].watch(t, host, fmt.Sprint("bob", i), presence.WatchNone)
				if _, truth := pods[i%3].AllUsers(t.Context(), host, true, presence.PerUser); !truth.Complete {
					t.Errorf("%+v", truth)
				}
				queries++
				conn.Close()
			}
			time.Sleep(2 * time.Second)
		}
		sent, checks := 0, 0
		for _, p := range pods {
			sent += len(clustertest.SentOf[*message.Query](p.port))
			once := make(map[uint64]bool)
			for _, s := range clustertest.SentOf[*message.Check](p.port) {
				id := s.Message.(*message.Check).ID
				if once[id] {
					t.Errorf("check %d was repeated", id)
				}
				once[id] = true
			}
			checks += len(once)
		}
		if sent != queries || checks == 0 {
			t.Errorf("%d payloads for %d queries, and %d checks", sent, queries, checks)
		}
	})
}
