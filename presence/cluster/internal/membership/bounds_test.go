package membership

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func TestEndingsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		first := link.Peer{DC: "dc", Pod: "first", Incarnation: message.Incarnation{Started: 1}}
		a.change(func(now time.Time) {
			a.recordEnd(first, 1, tenure{since: now}, now)
			for i := range maxPods {
				p := link.Peer{DC: "dc", Pod: fmt.Sprint("p", i/2), Incarnation: message.Incarnation{Started: int64(i)}}
				a.recordEnd(p, 1, tenure{since: now}, now.Add(time.Second))
			}
		})
		if _, ok := a.ended[first]; ok || len(a.ended) != maxPods {
			t.Errorf("%d endings are kept, the first one too: %v", len(a.ended), ok)
		}
		if len(a.named) != maxPods/2 {
			t.Errorf("runs of %d pods are kept, want %d", len(a.named), maxPods/2)
		}
		a.change(func(now time.Time) { a.checkSilence(now.Add(a.timing.Remember + time.Second)) })
		if len(a.ended)+len(a.named) > 0 {
			t.Errorf("after a day, %d endings of %d pods are kept", len(a.ended), len(a.named))
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
				n := new(clustertest.Lab)
				var stall time.Duration
				a := settled(t, n, "dc", "a", func(tm *timing.Timing) {
					tm.Stall = func() {
						d := stall
						stall = 0
						time.Sleep(d)
					}
				})
				s := n.Script(t, "dc", "s", 1)
				s.Beat()
				time.Sleep(4500 * time.Millisecond)
				synctest.Wait()
				began := time.Now()
				stall = tc.pause
				a.pulse.wake.Wake()
				time.Sleep(tc.pause)
				synctest.Wait()
				if got := a.Alive(s.Peer()); got != tc.alive {
					t.Fatalf("alive after %v: %v", time.Since(began), got)
				}
				if !tc.alive {
					return
				}
				a.wantLog(t, 1, "warn other pods were not heard", "this process did not run")
				if a.KnowsPods() {
					t.Error("knows who is there right after a pause")
				}
				time.Sleep(5*time.Second - time.Nanosecond)
				synctest.Wait()
				if !a.Alive(s.Peer()) {
					t.Error("no fresh 5 s")
				}
				time.Sleep(time.Nanosecond)
				a.wantState(t, s.Peer(), "unreachable")
				if !a.Ready() {
					t.Error("a pause took Ready back")
				}
			})
		})
	}
}

func TestPodsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		port := n.Port(t)
		for i := range maxPods + 10 {
			p := link.Peer{DC: "dc", Pod: fmt.Sprint("p", i), Incarnation: message.Incarnation{Started: 1}}
			l := link.New(port, "rollcall", "", p, zap.NewNop())
			if _, err := l.Subscribe(l.Inbox(p), link.Loose, func(from link.Peer, m message.Message) {
				if probe, ok := m.(*message.Probe); ok {
					l.Send(l.Inbox(from), &message.Heartbeat{Nonce: probe.Nonce})
				}
			}); err != nil {
				t.Fatal(err)
			}
			l.Send(l.All(), &message.Heartbeat{})
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := len(a.All()); got != maxPods {
			t.Errorf("%d pods are known", got)
		}
		if got := a.link.Ignored().Unknown; got != 10 {
			t.Errorf("%d counted as unknown", got)
		}
		if got := a.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); got != 1 {
			t.Errorf("%d errors logged", got)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := len(a.lost); got != maxPods {
			t.Errorf("%d lost pods are remembered", got)
		}
	})
}

func TestProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		port := n.Port(t)
		for i := range maxPods + 100 {
			l := link.New(port, "rollcall", "", link.Peer{DC: "x", Pod: fmt.Sprint("p", i), Incarnation: message.Incarnation{Started: 1}}, zap.NewNop())
			for range 3 {
				l.Send(l.All(), &message.Heartbeat{}) // and no answer to a probe
			}
		}
		synctest.Wait()
		if got := a.probesKept(); got != maxPods {
			t.Errorf("%d probes are remembered, want %d", got, maxPods)
		}
		if got := len(clustertest.SentOf[*message.Probe](a.port)); got != maxPods {
			t.Errorf("%d probes were sent, want %d", got, maxPods)
		}
		s := n.Script(t, "x", "s", 1)
		time.Sleep(probeTimeout + time.Second)
		s.Beat()
		a.wantState(t, s.Peer(), "alive")
		if got := a.probesKept(); got != 0 {
			t.Errorf("%d probes are remembered", got)
		}
	})
}

// Heartbeats that an outsider has recorded and publishes again cause no more probes than there are
// pods.
func TestRecordedHeartbeatsLeaveFewProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		for i := range 2 {
			s := n.Script(t, "x", fmt.Sprint("s", i), 1)
			s.Die()
			s.Beat()
		}
		recorded, port := n.Recorded(), n.Port(t)
		a := settled(t, n, "x", "a")
		for range 100 {
			for _, r := range recorded {
				if err := port.Publish(r.Subject, r.Payload); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(500 * time.Millisecond)
			if got := a.probesKept(); got == 0 || got > 2 {
				t.Fatalf("%d probes are remembered", got)
			}
		}
	})
}

func TestSitesInAssemblyAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "dc", "a")
		big := make([]message.Site, 450)
		for i := range big {
			big[i] = clustertest.Site([]string{fmt.Sprintf("%01000d", i)})
		}
		for i := range 4 {
			s := n.Script(t, "dc", fmt.Sprint("s", i), 1)
			sum := uint64(i + 1)
			s.Announce(sum)
			s.Beat()
			for part := range uint32(sites.MaxParts - 1) { // never the last one
				a.Handle(s.Peer(), &message.Sites{Sum: sum, Part: part, Parts: sites.MaxParts, Sites: big})
			}
		}
		a.mu.RLock()
		defer a.mu.RUnlock()
		if got := a.assembling(); got > maxSiteBytes {
			t.Errorf("%d bytes in assembly", got)
		}
		if got := a.link.Ignored().Oversized; got == 0 {
			t.Error("nothing was counted")
		}
	})
}

func TestSitesOfMissingPodsCountForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := n.Script(t, "y", "s", 1)
		s.Serve(clustertest.Site([]string{"s.com"}))
		s.Live(2 * time.Second)
		keeping := func() (bytes int) {
			a.change(func(time.Time) { bytes = a.keeping() })
			return bytes
		}
		before := keeping()
		time.Sleep(6 * time.Second)
		a.wantState(t, s.Peer(), "unreachable")
		if got := keeping(); got != before || got == 0 {
			t.Errorf("%d bytes count, want %d as before the loss", got, before)
		}
	})
}

func TestDataCentersThatWereHeardAgainAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := settled(t, n, "x", "a")
		s := scripts(t, n, "y", "s")[0]
		time.Sleep(4 * time.Second)
		s.Live(11 * time.Second)
		synctest.Wait()
		a.mu.RLock()
		defer a.mu.RUnlock()
		if len(a.heardAgain) > 0 {
			t.Errorf("kept for ever: %v", a.heardAgain)
		}
	})
}
