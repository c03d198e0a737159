package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// eavesdropper records all payloads of a lab, and publishes them again. It knows no secret.
type eavesdropper struct {
	lab  *lab
	port *clustertest.Port
}

func (n *lab) eavesdropper(t *testing.T) eavesdropper { return eavesdropper{n, n.Port(t)} }

// records returns all that was recorded until now.
func (e eavesdropper) records() []clustertest.Record {
	synctest.Wait()
	return e.lab.Recorded()
}

func (e eavesdropper) replay(t *testing.T, records []clustertest.Record) {
	t.Helper()
	for _, r := range records {
		if err := e.port.Publish(r.Subject, r.Payload); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

// kill ends a pod without a goodbye.
func (p *labPod) kill() {
	p.port.SetError(errSimDead)
	p.port.Unsubscribe()
}

func TestRecordedMessagesAreNotDeliveredAgain(t *testing.T) {
	host := mustHost(t, "a.example")
	secret := func(c *Config, _ *timing.Timing) { c.Secret = "a secret" }
	tests := []struct {
		name string
		// again does what happens until messages arrive again, after the listener has left. It
		// returns another listener and its pod. If nil, the listener stays.
		again func(t *testing.T, n *lab, a *labPod) (*labPod, *clustertest.Mailbox)
		away  bool // the sender counts as lost for a while
	}{
		{name: "at once"},
		{name: "after the pod that sent was taken for dead", away: true},
		{name: "after the subscription has ended", again: func(t *testing.T, _ *lab, a *labPod) (*labPod, *clustertest.Mailbox) {
			time.Sleep(timing.Default().Linger + 2*time.Second)
			_, box := a.listen(t, host, "cid", "room")
			return a, box
		}},
		{name: "after a long time", again: func(t *testing.T, _ *lab, a *labPod) (*labPod, *clustertest.Mailbox) {
			time.Sleep(3 * link.MaxAge)
			_, box := a.listen(t, host, "cid", "room")
			return a, box
		}},
		{name: "by a pod that was started since", again: func(t *testing.T, n *lab, _ *labPod) (*labPod, *clustertest.Mailbox) {
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
				box.Wants(t, `room bob {"n":1}`)
				recorded := e.records()
				to := a
				if tt.again != nil {
					ann.Close()
					to, box = tt.again(t, n, a)
				}
				if tt.away {
					b.port.SetError(errSimDead)
					time.Sleep(6 * time.Second)
					a.wantState(t, b.link.Self(), "unreachable")
					b.port.SetError(nil)
					time.Sleep(2 * time.Second)
					a.wantState(t, b.link.Self(), "alive")
				}
				for range 3 {
					e.replay(t, recorded)
				}
				box.Wants(t)
				if got := to.link.Ignored(); got.Repeated == 0 || got.Forged != 0 && to == a {
					t.Errorf("ignored: %+v", got)
				}
				mustSend(t, bob, `{"n":2}`, "room")
				box.Wants(t, `room bob {"n":2}`)
			})
		})
	}
}

// A recorded heartbeat revives no pod, even if its end is no longer remembered.
func TestRecordedHeartbeatsReviveNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		e := n.eavesdropper(t)
		secret := func(c *Config, _ *timing.Timing) { c.Secret = "a secret" }
		a, b := n.start(t, "x", "a", secret), n.start(t, "x", "b", secret)
		n.start(t, "x", "d", secret) // so that b is not half of the data center
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
					t.Fatalf("%s takes the dead pod for %s", p.link.Self().Pod, state)
				}
			}
		}
		c.wantState(t, a.link.Self(), "alive")
		if dcs, truth := c.AllUsers(t.Context(), host, true, presence.PerUser); !truth.Complete {
			t.Errorf("%+v, %+v", dcs, truth)
		}
	})
}

// An incarnation whose goodbye arrives before it is known ends the earlier ones, but a recorded
// goodbye does not.
func TestGoodbyeOfALaterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(lab)
		a := n.settled(t, "dc", "a")
		old, young := n.Script(t, "dc", "s", 1), n.Script(t, "dc", "s", 2)
		old.Beat()
		young.Goodbye()
		a.wantState(t, old.Peer(), "")
		a.wantLog(t, 1, "info pod left", "reason:replaced")

		time.Sleep(time.Second)
		old.Beat() // its clock went back before it started
		a.wantState(t, old.Peer(), "alive")
		young.Goodbye()
		a.wantState(t, old.Peer(), "alive")

		lost := n.Script(t, "dc", "t", 1)
		lost.Beat()
		time.Sleep(6 * time.Second)
		a.wantState(t, lost.Peer(), "unreachable")
		n.Script(t, "dc", "t", 2).Goodbye()
		a.wantState(t, lost.Peer(), "")
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
			s := n.Script(t, "x", fmt.Sprint("s", i), started)
			s.Beat()
			a.wantState(t, s.Peer(), "alive")
			s.Send(s.Link.Queries(), &message.Query{ID: 1, Kind: message.KindPing})
		}
		synctest.Wait()
		if got := len(clustertest.SentOf[*message.Reply](a.port)); got != 3 {
			t.Errorf("%d of 3 are answered", got)
		}
	})
}
