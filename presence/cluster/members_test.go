package cluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// logged returns the number of log lines that contain all words, level included.
func (p *labPod) logged(words ...string) int {
	n := 0
next:
	for _, e := range p.logs.All() {
		line := fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap())
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

func (p *labPod) wantLog(t *testing.T, want int, words ...string) {
	t.Helper()
	synctest.Wait()
	if got := p.logged(words...); got != want {
		t.Errorf("%d log lines with %q, want %d:\n%v", got, words, want, p.logs.All())
	}
}

func TestSilentPodIsSuspectThenGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.beat()
		a.wantState(t, s.peer(), "alive")
		time.Sleep(500 * time.Millisecond)
		s.beat() // this one is accepted
		time.Sleep(3*time.Second - time.Nanosecond)
		a.wantState(t, s.peer(), "alive")
		time.Sleep(time.Nanosecond)
		a.wantState(t, s.peer(), "suspect")
		host := mustHost(t, "example.com")
		if got := a.members.serving(host, ScopeAll, true); len(got) != 1 {
			t.Errorf("serving with suspects: %v", got)
		}
		if got := a.members.serving(host, ScopeAll, false); len(got) != 0 {
			t.Errorf("serving without suspects: %v", got)
		}
		time.Sleep(2*time.Second - time.Nanosecond)
		a.wantState(t, s.peer(), "suspect")
		if !a.members.alive(s.peer()) {
			t.Error("a suspect is not alive")
		}
		time.Sleep(time.Nanosecond)
		a.wantState(t, s.peer(), "unreachable")
		if a.members.alive(s.peer()) {
			t.Error("alive when gone")
		}
		a.wantLog(t, 1, "info pod joined", "dc:dc", "pod:s", "incarnation:1-")
		a.wantLog(t, 1, "warn pod left", "pod:s", "reason:silent")

		s.beat()
		a.wantState(t, s.peer(), "alive")
		a.wantLog(t, 2, "info pod joined", "pod:s")
	})
}

func TestSuspectThatIsHeardIsAliveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.beat()
		time.Sleep(4 * time.Second)
		a.wantState(t, s.peer(), "suspect")
		s.beat()
		a.wantState(t, s.peer(), "alive")
		time.Sleep(4 * time.Second)
		a.wantState(t, s.peer(), "suspect")
	})
}

func TestLateOrRepeatedHeartbeatsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.link.seq.Store(7)
		s.beat()
		for range 4 {
			time.Sleep(time.Second)
			s.link.seq.Store(7)
			s.beat() // the same number again
		}
		a.wantState(t, s.peer(), "suspect")
		time.Sleep(time.Second)
		a.wantState(t, s.peer(), "unreachable")
		s.link.seq.Store(3)
		s.beat()
		a.wantState(t, s.peer(), "unreachable")
		if got := a.link.ignored().Unknown; got != 1 {
			t.Errorf("%d ignored as unknown, want 1", got)
		}
	})
}

// A client of the bus can repeat payloads of a pod, even without the secret.
func TestReplayedHeartbeatOfADeadPodIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.link.seq.Store(7)
		s.beat()
		for range 60 {
			time.Sleep(time.Minute)
			s.link.seq.Store(7)
			s.beat()
			synctest.Wait()
			if a.members.alive(s.peer()) {
				t.Fatal("alive again")
			}
		}
		s.link.seq.Store(20)
		s.beat() // a new payload
		a.wantState(t, s.peer(), "alive")
	})
}

func TestEndingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		first := peer{"dc", "first", message.Incarnation{Started: 1}}
		a.members.change(func(now time.Time) {
			a.members.recordEnd(first, 1, now)
			for i := range maxPods {
				a.members.recordEnd(peer{"dc", fmt.Sprint("p", i), message.Incarnation{Started: 1}}, 1, now.Add(time.Second))
			}
		})
		if _, ok := a.members.ended[first]; ok || len(a.members.ended) != maxPods {
			t.Errorf("%d endings are kept, the first one too: %v", len(a.members.ended), ok)
		}
	})
}

func TestGoodbyeIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.beat()
		s.goodbye()
		a.wantState(t, s.peer(), "")
		a.wantLog(t, 1, "info pod left", "pod:s", "reason:goodbye")
		s.beat() // it was still in transit
		a.wantState(t, s.peer(), "")
		if names := a.members.unreachable(mustHost(t, "example.com"), ScopeAll); len(names) != 0 {
			t.Errorf("unreachable: %q", names)
		}
	})
}

func TestNewRunOfAPodEndsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.script(t, "dc", "s", 1), n.script(t, "dc", "s", 2)
		old.beat()
		young.beat()
		a.wantState(t, old.peer(), "")
		a.wantState(t, young.peer(), "alive")
		a.wantLog(t, 1, "info pod left", "reason:replaced")
		old.link.seq.Store(0)
		old.beat() // late, but not repeated
		a.wantState(t, old.peer(), "")
		for range 8 {
			time.Sleep(time.Second)
			young.beat()
		}
		a.wantState(t, young.peer(), "alive")
		a.wantLog(t, 0, "error")
	})
}

func TestLateHeartbeatOfAnUnknownOlderRunIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.script(t, "dc", "s", 1), n.script(t, "dc", "s", 2)
		young.beat()
		old.beat()
		a.wantState(t, old.peer(), "")
		a.wantState(t, young.peer(), "alive")
	})
}

func TestTwoProcessesOfOneNameAreAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.script(t, "dc", "s", 1), n.script(t, "dc", "s", 2)
		old.beat()
		young.beat()
		old.beat()
		for _, s := range []*script{old, young} {
			a.wantState(t, s.peer(), "alive")
		}
		a.wantLog(t, 1, "error two processes have the name", "pod:s")
		conflicts := func() (n int) {
			for _, pod := range a.members.report() {
				if pod.report.Conflict {
					n++
				}
			}
			return n
		}
		if got := conflicts(); got != 2 {
			t.Errorf("%d pods with a conflict, want 2", got)
		}
		young.live(6 * time.Second)
		a.wantState(t, old.peer(), "")
		if got := conflicts(); got != 0 {
			t.Errorf("%d pods with a conflict after one ended, want 0", got)
		}
		if names := a.members.unreachable(mustHost(t, "example.com"), ScopeAll); len(names) != 0 {
			t.Errorf("unreachable: %q, but a pod of that name is alive", names)
		}
	})
}

func TestRunThatDrainsIsNotAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.script(t, "dc", "s", 1), n.script(t, "dc", "s", 2)
		old.beat()
		young.beat()
		old.beatWith(message.Heartbeat{Draining: true})
		a.wantState(t, old.peer(), "draining")
		a.wantState(t, young.peer(), "alive")
		a.wantLog(t, 0, "error")
	})
}

func TestAnotherProcessWithOurNameIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		other := n.script(t, "dc", "a", 1)
		other.beat()
		a.wantLog(t, 0, "error")
		other.beat()
		a.wantLog(t, 1, "error two processes have the name", "pod:a")
		if all := a.members.report(); len(all) != 2 || !all[0].report.Conflict || !all[1].report.Conflict {
			t.Errorf("report: %+v", all)
		}
		other.goodbye()
		if all := a.members.report(); len(all) != 1 || all[0].report.Conflict {
			t.Errorf("report after its goodbye: %+v", all)
		}
	})
}

func TestDrainingPodIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a, b := n.start(t, "dc", "a"), n.start(t, "dc", "b")
		time.Sleep(3 * time.Second)
		before := time.Now()
		b.Drain()
		a.wantState(t, b.link.Self(), "draining")
		if !time.Now().Equal(before) {
			t.Error("not at once")
		}
		if got := a.members.serving(mustHost(t, "example.com"), ScopeAll, false); len(got) != 1 {
			t.Errorf("serving: %v", got)
		}
	})
}

func TestOwnPauseRemovesNoPod(t *testing.T) {
	for _, tc := range []struct {
		pause time.Duration
		alive bool
	}{
		{1900 * time.Millisecond, false}, // not a pause: 6.4 s of silence
		{20 * time.Second, true},
	} {
		t.Run(tc.pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				var stall time.Duration
				a := n.settled(t, "dc", "a", func(_ *Config, tm *timing) {
					tm.stall = func() {
						d := stall
						stall = 0
						time.Sleep(d)
					}
				})
				s := n.script(t, "dc", "s", 1)
				s.beat()
				time.Sleep(4500 * time.Millisecond)
				synctest.Wait()
				began := time.Now()
				stall = tc.pause
				a.members.pulse.wakeUp()
				time.Sleep(tc.pause)
				synctest.Wait()
				if got := a.members.alive(s.peer()); got != tc.alive {
					t.Fatalf("alive after %v: %v", time.Since(began), got)
				}
				if !tc.alive {
					return
				}
				a.wantLog(t, 1, "warn other pods were not heard", "this process did not run")
				if a.members.KnowsPods() {
					t.Error("knows who is there right after a pause")
				}
				time.Sleep(5*time.Second - time.Nanosecond)
				synctest.Wait()
				if !a.members.alive(s.peer()) {
					t.Error("no fresh 5 s")
				}
				time.Sleep(time.Nanosecond)
				a.wantState(t, s.peer(), "unreachable")
				if !a.Ready() {
					t.Error("a pause took Ready back")
				}
			})
		})
	}
}

func TestPauseBetweenTwoStepsRemovesNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.beat()
		// The transport stops the process in the middle of its step, while it sends a heartbeat.
		n.mu.Lock()
		a.port.slow = 20 * time.Second
		n.mu.Unlock()
		time.Sleep(22 * time.Second)
		a.wantState(t, s.peer(), "alive")
	})
}

func TestDisconnectedBusRemovesNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.beat()
		a.members.setConnected(false)
		if a.members.KnowsPods() {
			t.Error("knows who is there without a bus")
		}
		time.Sleep(4900 * time.Millisecond)
		a.members.setConnected(true)
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if !a.members.alive(s.peer()) {
			t.Error("no fresh 5 s after a reconnect")
		}
		time.Sleep(100 * time.Millisecond)
		a.wantState(t, s.peer(), "unreachable")
		if !a.members.KnowsPods() || !a.Ready() {
			t.Error("did not settle again")
		}
	})
}

func TestReady(t *testing.T) {
	for _, tc := range []struct {
		name  string
		heard []time.Duration // times at which a new pod is heard
		want  time.Duration
	}{
		{"alone", nil, 1500 * time.Millisecond},
		{"others at once", []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}, 1500 * time.Millisecond},
		{"one late", []time.Duration{1400 * time.Millisecond}, 2400 * time.Millisecond},
		{"always another", []time.Duration{1100e6, 2000e6, 2900e6, 3800e6, 4700e6, 5600e6}, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				began := time.Now()
				a := n.start(t, "dc", "a")
				go func() {
					for i, at := range tc.heard {
						time.Sleep(time.Until(began.Add(at)))
						n.script(t, "dc", fmt.Sprint("s", i), 1).link.send(a.link.all(), &message.Heartbeat{})
					}
				}()
				time.Sleep(tc.want - time.Nanosecond)
				synctest.Wait()
				if a.Ready() || a.members.KnowsPods() {
					t.Errorf("ready before %v", tc.want)
				}
				if truth := a.truth(t); truth.Complete {
					t.Error("complete before ready")
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if !a.Ready() || !a.members.KnowsPods() {
					t.Errorf("not ready at %v", tc.want)
				}
				time.Sleep(5 * time.Second) // the goroutine above ends
			})
		})
	}
}

// truth asks for something that only this pod has.
func (p *labPod) truth(t *testing.T) Truth {
	t.Helper()
	_, truth := p.AllUsers(t.Context(), mustHost(t, "example.com"), false, presence.PerUser)
	return truth
}

func TestReadyWithoutABusAtTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.start(t, "dc", "a")
		a.members.setConnected(false)
		time.Sleep(5*time.Second - time.Nanosecond)
		synctest.Wait()
		if a.Ready() {
			t.Error("ready before 5 s without a bus")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !a.Ready() {
			t.Error("not ready after 5 s")
		}
		if truth := a.truth(t); truth.Complete || len(truth.Missing) > 0 {
			t.Errorf("without a bus: %+v", truth)
		}
	})
}

func TestPodsHearEachOtherAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		time.Sleep(300 * time.Millisecond) // between two heartbeats
		synctest.Wait()
		beats := func() (all int) {
			for _, sent := range sentOf[*message.Heartbeat](a.port) {
				if sent.subject == a.link.all() {
					all++
				}
			}
			return all
		}
		before := beats()
		b := n.start(t, "dc", "b")
		b.wantState(t, a.link.Self(), "alive")
		a.wantState(t, b.link.Self(), "alive")
		if got := beats() - before; got != 1 {
			t.Errorf("%d heartbeats to answer one hello", got)
		}
	})
}

func TestHeartbeatsComeOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		before := len(sentOf[*message.Heartbeat](a.port))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		beats := sentOf[*message.Heartbeat](a.port)
		if got := len(beats) - before; got != 10 {
			t.Errorf("%d heartbeats in 10 s", got)
		}
		for i, s := range beats {
			hb := s.m.(*message.Heartbeat)
			if i > 0 && hb.Seq <= beats[i-1].m.(*message.Heartbeat).Seq {
				t.Errorf("heartbeat %d has the number %d", i, hb.Seq)
			}
			if hb.Connections != 7 || hb.Sites == 0 {
				t.Errorf("heartbeat %d: %+v", i, hb)
			}
		}
	})
}

func TestForgedAndUnknownSendersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.link.send(s.link.inbox(a.link.Self()), &message.CheckDone{ID: 1})
		s.link.send(s.link.queries(), &message.Query{ID: 1, Kind: message.KindPing})
		synctest.Wait()
		if got := a.link.ignored(); got != (Ignored{Unknown: 2}) {
			t.Errorf("ignored: %+v, want 2 unknown", got)
		}
		us := &link{bus: s.port, codec: s.link.codec, prefix: "rollcall", self: a.link.Self(), logger: s.link.logger}
		us.send(us.all(), &message.Heartbeat{})                // an echo
		us.seq.Store(1000)                                     // more than it has sent
		us.send(us.all(), &message.Heartbeat{})                // never sent
		us.send(us.all(), &message.Goodbye{})                  // an echo, or forged: it has no effect
		us.send(us.inbox(a.link.Self()), &message.CheckDone{}) // a pod never writes to itself
		us.send(us.queries(), &message.Query{ID: 2, Kind: 5})  // an echo
		synctest.Wait()
		if got := a.link.ignored(); got != (Ignored{Unknown: 2, Forged: 2}) {
			t.Errorf("ignored: %+v, want 2 forged too", got)
		}
		for _, payload := range []string{"", "\x01", "\x02abc", strings.Repeat("x", message.MaxPayload+1)} {
			if err := s.port.Publish(s.link.all(), []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		got := a.link.ignored()
		if got.Malformed+got.Version+got.Oversized != 4 || got.Version == 0 || got.Oversized+got.Version < 2 {
			t.Errorf("ignored: %+v", got)
		}
	})
}

func TestNoPodJoinsWithoutTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		secret := func(s string) func(*Config, *timing) { return func(c *Config, _ *timing) { c.Secret = s } }
		a, b := n.start(t, "dc", "a", secret("one")), n.start(t, "dc", "b", secret("one"))
		c, d := n.start(t, "dc", "c", secret("two")), n.start(t, "dc", "d")
		time.Sleep(3 * time.Second)
		a.wantState(t, b.link.Self(), "alive")
		for _, p := range []*labPod{a, c, d} {
			for _, other := range []*labPod{c, d} {
				if p != other {
					p.wantState(t, other.link.Self(), "")
				}
			}
		}
		if got := a.link.ignored().Forged; got == 0 {
			t.Error("nothing was counted as forged")
		}
	})
}

func TestPodsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		port := n.port(t)
		for i := range maxPods + 10 {
			p := peer{"dc", fmt.Sprint("p", i), message.Incarnation{Started: 1}}
			l := newLink(port, "rollcall", "", p, a.link.logger)
			if _, err := l.subscribe(l.inbox(p), loosely, func(from peer, m message.Message) {
				if probe, ok := m.(*message.Probe); ok {
					l.send(l.inbox(from), &message.Heartbeat{Nonce: probe.Nonce})
				}
			}); err != nil {
				t.Fatal(err)
			}
			l.send(l.all(), &message.Heartbeat{})
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := len(a.members.everybody()); got != maxPods {
			t.Errorf("%d pods are known", got)
		}
		if got := a.link.ignored().Unknown; got != 10 {
			t.Errorf("%d counted as unknown", got)
		}
		if got := a.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); got != 1 {
			t.Errorf("%d errors logged", got)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := len(a.members.lost); got != maxPods {
			t.Errorf("%d lost pods are remembered", got)
		}
	})
}
