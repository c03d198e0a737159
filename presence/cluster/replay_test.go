package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// eavesdropper records all payloads and publishes them again. It does not know the secret.
type eavesdropper struct {
	lab  *lab
	port *labPort
}

func (n *lab) eavesdropper(t *testing.T) eavesdropper { return eavesdropper{n, n.port(t)} }

// records returns all payloads recorded so far.
func (e eavesdropper) records() []labRecord {
	synctest.Wait()
	e.lab.mu.Lock()
	defer e.lab.mu.Unlock()
	return slices.Clone(e.lab.recorded)
}

func (e eavesdropper) replay(t *testing.T, records []labRecord) {
	t.Helper()
	for _, r := range records {
		if err := e.port.Publish(r.subject, r.payload); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

// setError sets the result of Publish.
func (p *labPod) setError(err error) {
	p.port.lab.mu.Lock()
	defer p.port.lab.mu.Unlock()
	p.port.err = err
}

// kill ends a pod without a goodbye.
func (p *labPod) kill() {
	p.setError(errSimDead)
	p.port.lab.mu.Lock()
	defer p.port.lab.mu.Unlock()
	p.port.subs = nil
}

func TestRecordedMessagesAreNotDeliveredAgain(t *testing.T) {
	host := mustHost(t, "a.example")
	secret := func(c *Config, _ *timing) { c.Secret = "a secret" }
	tests := []struct {
		name string
		// again does what happens until messages arrive again, after the listener has left. It
		// returns another listener and its pod. If nil, the listener stays.
		again func(t *testing.T, n *lab, a *labPod) (*labPod, *mailbox)
		away  bool // the sender counts as lost for a while
	}{
		{name: "at once"},
		{name: "after the pod that sent was taken for dead", away: true},
		{name: "after the subscription has ended", again: func(t *testing.T, _ *lab, a *labPod) (*labPod, *mailbox) {
			time.Sleep(defaultTiming.linger + 2*time.Second)
			_, box := a.listen(t, host, "cid", "room")
			return a, box
		}},
		{name: "after a long time", again: func(t *testing.T, _ *lab, a *labPod) (*labPod, *mailbox) {
			time.Sleep(3 * maxAge)
			_, box := a.listen(t, host, "cid", "room")
			return a, box
		}},
		{name: "by a pod that was started since", again: func(t *testing.T, n *lab, _ *labPod) (*labPod, *mailbox) {
			c := n.start(t, "x", "c", secret)
			_, box := c.listen(t, host, "cid", "room")
			time.Sleep(3 * time.Second)
			return c, box
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(lab)
				e := n.eavesdropper(t)
				a, b := n.start(t, "x", "a", secret), n.start(t, "x", "b", secret)
				time.Sleep(3 * time.Second)
				ann, box := a.listen(t, host, "ann", "room")
				bob, _ := b.listen(t, host, "bob", "room")
				mustSend(t, bob, `{"n":1}`, "room")
				box.wants(t, `room bob {"n":1}`)
				recorded := e.records()
				to := a
				if tt.again != nil {
					ann.Close()
					to, box = tt.again(t, n, a)
				}
				if tt.away {
					b.setError(errSimDead)
					time.Sleep(6 * time.Second)
					a.wantState(t, b.link.Self(), "unreachable")
					b.setError(nil)
					time.Sleep(2 * time.Second)
					a.wantState(t, b.link.Self(), "alive")
				}
				for range 3 {
					e.replay(t, recorded)
				}
				box.wants(t)
				if got := to.link.ignored(); got.Repeated == 0 || got.Forged != 0 && to == a {
					t.Errorf("ignored: %+v", got)
				}
				mustSend(t, bob, `{"n":2}`, "room")
				box.wants(t, `room bob {"n":2}`)
			})
		})
	}
}

// A recorded heartbeat revives no pod, even if its end is no longer remembered.
func TestRecordedHeartbeatsReviveNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		e := n.eavesdropper(t)
		secret := func(c *Config, _ *timing) { c.Secret = "a secret" }
		a, b := n.start(t, "x", "a", secret), n.start(t, "x", "b", secret)
		time.Sleep(3 * time.Second)
		host := mustHost(t, "a.example")
		b.connect(t, host, "bob", "", "room")
		a.wantState(t, b.link.Self(), "alive")
		b.kill()
		time.Sleep(6 * time.Second)
		recorded := e.records()
		c := n.start(t, "x", "c", secret) // does not know b
		for range 100 {
			e.replay(t, recorded)
			time.Sleep(500 * time.Millisecond)
			for _, p := range []*labPod{a, c} {
				if state := p.state(b.link.Self()); state != "" && state != "unreachable" {
					t.Fatalf("%s takes the dead pod for %s", p.link.Self().pod, state)
				}
			}
		}
		c.wantState(t, a.link.Self(), "alive")
		if dcs, truth := c.AllUsers(t.Context(), host, true, presence.PerUser); !truth.Complete {
			t.Errorf("%+v, %+v", dcs, truth)
		}
		if len(c.members.probes) > 2 {
			t.Errorf("%d probes are remembered", len(c.members.probes))
		}
	})
}

// An incarnation whose goodbye arrives before it is known ends the earlier ones, but a recorded
// goodbye does not.
func TestGoodbyeOfALaterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a := n.settled(t, "dc", "a")
		old, young := n.script(t, "dc", "s", 1), n.script(t, "dc", "s", 2)
		old.beat()
		young.goodbye()
		a.wantState(t, old.peer(), "")
		a.wantLog(t, 1, "info pod left", "reason:replaced")

		time.Sleep(time.Second)
		old.beat() // its clock went back before it started
		a.wantState(t, old.peer(), "alive")
		young.goodbye()
		a.wantState(t, old.peer(), "alive")

		lost := n.script(t, "dc", "t", 1)
		lost.beat()
		time.Sleep(6 * time.Second)
		a.wantState(t, lost.peer(), "unreachable")
		n.script(t, "dc", "t", 2).goodbye()
		a.wantState(t, lost.peer(), "")
	})
}

// Pods whose clocks differ by hours hear each other: payloads are not compared with the time of day
// of their pod.
func TestClocksOfPodsDoNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a := n.settled(t, "x", "a")
		day := 24 * time.Hour.Milliseconds()
		for i, started := range []int64{-day, 1, time.Now().UnixMilli() + day} {
			s := n.script(t, "x", fmt.Sprint("s", i), started)
			s.beat()
			a.wantState(t, s.peer(), "alive")
			s.link.send(s.link.queries(), &message.Query{ID: 1, Kind: message.KindPing})
		}
		synctest.Wait()
		if got := len(sentOf[*message.Reply](a.port)); got != 3 {
			t.Errorf("%d of 3 are answered", got)
		}
	})
}

func TestProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a := n.settled(t, "x", "a")
		port := n.port(t)
		for i := range maxPods + 100 {
			l := newLink(port, "rollcall", "", peer{"x", fmt.Sprint("p", i), message.Incarnation{Started: 1}}, a.link.logger)
			for range 3 {
				l.send(l.all(), &message.Heartbeat{}) // and no answer to a probe
			}
		}
		synctest.Wait()
		if got := len(a.members.probes); got != maxPods {
			t.Errorf("%d probes are remembered, want %d", got, maxPods)
		}
		if got := len(sentOf[*message.Probe](a.port)); got != maxPods {
			t.Errorf("%d probes were sent, want %d", got, maxPods)
		}
		s := n.script(t, "x", "s", 1)
		time.Sleep(probeTimeout + time.Second)
		s.beat()
		a.wantState(t, s.peer(), "alive")
		if got := len(a.members.probes); got != 0 {
			t.Errorf("%d probes are remembered", got)
		}
	})
}

func TestWindow(t *testing.T) {
	tests := []struct {
		name string
		most order
		come []uint64
		want []uint64
	}{
		{"strictly", strictly, []uint64{5, 5, 4, 6, 1, 9, 6}, []uint64{5, 6, 9}},
		{"strictly, over blocks", strictly, []uint64{63, 64, 63, 127, 126, 128, 64}, []uint64{63, 64, 127, 128}},
		{"late and twice", loosely, []uint64{10, 30, 20, 20, 5, 40, 30, 25, 63, 64, 64}, []uint64{10, 30, 20, 5, 40, 25, 63, 64}},
		{
			"too late", 3,
			[]uint64{640, 1280, 1281, 1920, 645, 63, 2560, 2560, 645, 700, 1300, 1280},
			[]uint64{640, 1280, 1281, 1920, 645, 2560, 1300},
		},
		{"the highest", strictly, []uint64{1<<64 - 1, 1, 1<<64 - 1}, []uint64{1<<64 - 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			var got []uint64
			for _, seq := range tt.come {
				if w.add(seq, tt.most) {
					got = append(got, seq)
				}
				if len(w.blocks) > int(tt.most) {
					t.Fatalf("%d blocks are kept", len(w.blocks))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A long payload has a lower number than the short ones that other goroutines publish while it is
// encoded.
func TestLongPayloadsAreNotRepetitions(t *testing.T) {
	const short = 5_000 // 50 ms, at the rate at which a pod answers checks
	tr := new(heldTransport)
	a := newLink(tr, "r", "", peer{pod: "a", dc: "x"}, zap.NewNop())
	b := newLink(tr, "r", "", peer{pod: "b", dc: "x"}, zap.NewNop())
	var replies, deltas int
	take := func(_ peer, m message.Message) {
		if _, ok := m.(*message.Reply); ok {
			replies++
		} else {
			deltas++
		}
	}
	if _, err := a.subscribe(a.inbox(a.Self()), loosely, take); err != nil {
		t.Fatal(err)
	}
	b.send(a.inbox(a.Self()), &message.Reply{ID: 1})
	host := mustHost(t, "a.example")
	for range short {
		b.send(a.inbox(a.Self()), &message.Delta{Host: host, Channel: "room", Parts: 1})
	}
	for range 2 {
		tr.take(tr.held)
	}
	if replies != 1 || deltas != short || a.counts.repeated.Load() != 1 {
		t.Errorf("%d replies, %d of %d deltas, %d repeated", replies, deltas, short, a.counts.repeated.Load())
	}
}

// heldTransport holds back the first payload.
type heldTransport struct {
	take func([]byte)
	held []byte
}

func (h *heldTransport) Publish(_ string, payload []byte) error {
	if h.held == nil {
		h.held = payload
	} else {
		h.take(payload)
	}
	return nil
}

func (h *heldTransport) Subscribe(_ string, take func([]byte)) (func(), error) {
	h.take = take
	return func() {}, nil
}
