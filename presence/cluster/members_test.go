package cluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func (p *labPod) wantLog(t *testing.T, want int, words ...string) {
	t.Helper()
	clustertest.WantLog(t, p.logs, want, words...)
}

func TestSilentPodIsSuspectThenGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		a.wantState(t, s.Peer(), "alive")
		time.Sleep(500 * time.Millisecond)
		s.Beat() // this one is accepted
		time.Sleep(3*time.Second - time.Nanosecond)
		a.wantState(t, s.Peer(), "alive")
		time.Sleep(time.Nanosecond)
		a.wantState(t, s.Peer(), "suspect")
		host := mustHost(t, "example.com")
		if got := a.members.Serving(host, ScopeAll, true); len(got) != 1 {
			t.Errorf("serving with suspects: %v", got)
		}
		if got := a.members.Serving(host, ScopeAll, false); len(got) != 0 {
			t.Errorf("serving without suspects: %v", got)
		}
		time.Sleep(2*time.Second - time.Nanosecond)
		a.wantState(t, s.Peer(), "suspect")
		if !a.members.Alive(s.Peer()) {
			t.Error("a suspect is not alive")
		}
		time.Sleep(time.Nanosecond)
		a.wantState(t, s.Peer(), "unreachable")
		if a.members.Alive(s.Peer()) {
			t.Error("alive when gone")
		}
		a.wantLog(t, 1, "info pod joined", "dc:dc", "pod:s", "incarnation:1-")
		a.wantLog(t, 1, "warn pod left", "pod:s", "reason:silent")

		s.Beat()
		a.wantState(t, s.Peer(), "alive")
		a.wantLog(t, 2, "info pod joined", "pod:s")
	})
}

func TestSuspectThatIsHeardIsAliveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		time.Sleep(4 * time.Second)
		a.wantState(t, s.Peer(), "suspect")
		s.Beat()
		a.wantState(t, s.Peer(), "alive")
		time.Sleep(4 * time.Second)
		a.wantState(t, s.Peer(), "suspect")
	})
}

func TestLateOrRepeatedHeartbeatsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.SetSeq(7)
		s.Beat()
		for range 4 {
			time.Sleep(time.Second)
			s.SetSeq(7)
			s.Beat() // the same number again
		}
		a.wantState(t, s.Peer(), "suspect")
		time.Sleep(time.Second)
		a.wantState(t, s.Peer(), "unreachable")
		s.SetSeq(3)
		s.Beat()
		a.wantState(t, s.Peer(), "unreachable")
		if got := a.link.Ignored().Unknown; got != 1 {
			t.Errorf("%d ignored as unknown, want 1", got)
		}
	})
}

// A client of the bus can repeat payloads of a pod, even without the secret.
func TestReplayedHeartbeatOfADeadPodIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.SetSeq(7)
		s.Beat()
		for range 60 {
			time.Sleep(time.Minute)
			s.SetSeq(7)
			s.Beat()
			synctest.Wait()
			if a.members.Alive(s.Peer()) {
				t.Fatal("alive again")
			}
		}
		s.SetSeq(20)
		s.Beat() // a new payload
		a.wantState(t, s.Peer(), "alive")
	})
}

func TestGoodbyeIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		s.Goodbye()
		a.wantState(t, s.Peer(), "")
		a.wantLog(t, 1, "info pod left", "pod:s", "reason:goodbye")
		s.Beat() // it was still in transit
		a.wantState(t, s.Peer(), "")
		if names := a.members.Unreachable(mustHost(t, "example.com"), ScopeAll); len(names) != 0 {
			t.Errorf("unreachable: %q", names)
		}
	})
}

func TestNewRunOfAPodEndsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "s", 2)
		old.Beat()
		young.Beat()
		a.wantState(t, old.Peer(), "")
		a.wantState(t, young.Peer(), "alive")
		a.wantLog(t, 1, "info pod left", "reason:replaced")
		old.SetSeq(0)
		old.Beat() // late, but not repeated
		a.wantState(t, old.Peer(), "")
		for range 8 {
			time.Sleep(time.Second)
			young.Beat()
		}
		a.wantState(t, young.Peer(), "alive")
		a.wantLog(t, 0, "error")
	})
}

func TestLateHeartbeatOfAnUnknownOlderRunIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "s", 2)
		young.Beat()
		old.Beat()
		a.wantState(t, old.Peer(), "")
		a.wantState(t, young.Peer(), "alive")
	})
}

func TestTwoProcessesOfOneNameAreAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "s", 2)
		old.Beat()
		young.Beat()
		old.Beat()
		for _, s := range []*script{old, young} {
			a.wantState(t, s.Peer(), "alive")
		}
		a.wantLog(t, 1, "error two processes have the name", "pod:s")
		conflicts := func() (n int) {
			for _, pod := range a.members.Report() {
				if pod.Report.Conflict {
					n++
				}
			}
			return n
		}
		if got := conflicts(); got != 2 {
			t.Errorf("%d pods with a conflict, want 2", got)
		}
		young.Live(6 * time.Second)
		a.wantState(t, old.Peer(), "")
		if got := conflicts(); got != 0 {
			t.Errorf("%d pods with a conflict after one ended, want 0", got)
		}
		if names := a.members.Unreachable(mustHost(t, "example.com"), ScopeAll); len(names) != 0 {
			t.Errorf("unreachable: %q, but a pod of that name is alive", names)
		}
	})
}

func TestRunThatDrainsIsNotAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		old, young := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "s", 2)
		old.Beat()
		young.Beat()
		old.BeatWith(message.Heartbeat{Draining: true})
		a.wantState(t, old.Peer(), "draining")
		a.wantState(t, young.Peer(), "alive")
		a.wantLog(t, 0, "error")
	})
}

func TestAnotherProcessWithOurNameIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		other := n.Script(t, "dc", "a", 1)
		other.Beat()
		a.wantLog(t, 0, "error")
		other.Beat()
		a.wantLog(t, 1, "error two processes have the name", "pod:a")
		if all := a.members.Report(); len(all) != 2 || !all[0].Report.Conflict || !all[1].Report.Conflict {
			t.Errorf("report: %+v", all)
		}
		other.Goodbye()
		if all := a.members.Report(); len(all) != 1 || all[0].Report.Conflict {
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
		if got := a.members.Serving(mustHost(t, "example.com"), ScopeAll, false); len(got) != 1 {
			t.Errorf("serving: %v", got)
		}
	})
}

func TestPauseBetweenTwoStepsRemovesNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		// The transport stops the process in the middle of its step, while it sends a heartbeat.
		a.port.SetSlow(20 * time.Second)
		time.Sleep(22 * time.Second)
		a.wantState(t, s.Peer(), "alive")
	})
}

func TestDisconnectedBusRemovesNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.Script(t, "dc", "s", 1)
		s.Beat()
		a.members.SetConnected(false)
		if a.members.KnowsPods() {
			t.Error("knows who is there without a bus")
		}
		time.Sleep(4900 * time.Millisecond)
		a.members.SetConnected(true)
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if !a.members.Alive(s.Peer()) {
			t.Error("no fresh 5 s after a reconnect")
		}
		time.Sleep(100 * time.Millisecond)
		a.wantState(t, s.Peer(), "unreachable")
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
						n.Script(t, "dc", fmt.Sprint("s", i), 1).Send(a.link.All(), &message.Heartbeat{})
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
		a.members.SetConnected(false)
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
			for _, sent := range clustertest.SentOf[*message.Heartbeat](a.port) {
				if sent.Subject == a.link.All() {
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
		before := len(clustertest.SentOf[*message.Heartbeat](a.port))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		beats := clustertest.SentOf[*message.Heartbeat](a.port)
		if got := len(beats) - before; got != 10 {
			t.Errorf("%d heartbeats in 10 s", got)
		}
		for i, s := range beats {
			hb := s.Message.(*message.Heartbeat)
			if i > 0 && hb.Seq <= beats[i-1].Message.(*message.Heartbeat).Seq {
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
		s := n.Script(t, "dc", "s", 1)
		s.Send(s.Link.Inbox(a.link.Self()), &message.CheckDone{ID: 1})
		s.Send(s.Link.Queries(), &message.Query{ID: 1, Kind: message.KindPing})
		synctest.Wait()
		if got := a.link.Ignored(); got != (Ignored{Unknown: 2}) {
			t.Errorf("ignored: %+v, want 2 unknown", got)
		}
		us := clustertest.NewVoice(t, s.Port, a.link.Self())
		us.Send(s.Link.All(), &message.Heartbeat{})                // an echo
		us.SetSeq(1000)                                            // more than it has sent
		us.Send(s.Link.All(), &message.Heartbeat{})                // never sent
		us.Send(s.Link.All(), &message.Goodbye{})                  // an echo, or forged: it has no effect
		us.Send(s.Link.Inbox(a.link.Self()), &message.CheckDone{}) // a pod never writes to itself
		us.Send(s.Link.Queries(), &message.Query{ID: 2, Kind: 5})  // an echo
		synctest.Wait()
		if got := a.link.Ignored(); got != (Ignored{Unknown: 2, Forged: 2}) {
			t.Errorf("ignored: %+v, want 2 forged too", got)
		}
		for _, payload := range []string{"", "\x01", "\x02abc", strings.Repeat("x", message.MaxPayload+1)} {
			if err := s.Port.Publish(s.Link.All(), []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		got := a.link.Ignored()
		if got.Malformed+got.Version+got.Oversized != 4 || got.Version == 0 || got.Oversized+got.Version < 2 {
			t.Errorf("ignored: %+v", got)
		}
	})
}

func TestNoPodJoinsWithoutTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		secret := func(s string) func(*Config, *timing.Timing) {
			return func(c *Config, _ *timing.Timing) { c.Secret = s }
		}
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
		if got := a.link.Ignored().Forged; got == 0 {
			t.Error("nothing was counted as forged")
		}
	})
}
