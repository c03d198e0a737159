package messages

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// testPod is a pod that has only a messenger.
type testPod struct {
	*Messenger
	port *clustertest.Port
	reg  *presence.Registry
}

// relay is the Relay of a pod without a replicator.
type relay struct{ *Messenger }

func (relay) Changed(presence.HostName, string)   {}
func (relay) Watched(presence.HostName, string)   {}
func (relay) Unwatched(presence.HostName, string) {}

// start starts a pod.
func start(t *testing.T, n *clustertest.Lab, pod string) *testPod {
	t.Helper()
	p := &testPod{port: n.Port(t), reg: presence.NewRegistry(clustertest.Encoder{})}
	l := link.New(p.port, "rollcall", "", link.Peer{DC: "x", Pod: pod}, zap.NewNop())
	p.Messenger = New(l, p.reg.Pods(), timing.Default(), func(presence.HostName) bool { return true }, zap.NewNop())
	p.reg.Pods().SetRelay(relay{p.Messenger})
	t.Cleanup(func() {
		p.reg.Pods().SetRelay(nil)
		p.Close()
	})
	return p
}

// listen connects a user that joins a channel, and waits for the effects.
func (p *testPod) listen(t *testing.T, host presence.HostName, user, channel string) *clustertest.Mailbox {
	t.Helper()
	box := new(clustertest.Mailbox)
	c, err := p.reg.Connect(host, &presence.Rules{}, &presence.User{ID: user}, box)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join(channel, presence.WatchNone, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	synctest.Wait()
	return box
}

// A slow bus delays the senders of the busiest host, and no others.
func TestMessagesFasterThanTheBusAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		host, other := testkit.MustHost(t, "a.example"), testkit.MustHost(t, "b.example")
		a, b := start(t, n, "a"), start(t, n, "b")
		box := b.listen(t, other, "bob", "room")
		a.port.SetSlow(time.Minute)
		large := []byte(`{"x":"` + strings.Repeat("x", 200<<10) + `"}`)
		var err error
		sent := 0
		for ; err == nil && sent < 1000; sent++ {
			err = a.reg.Send(host, presence.Message{Channels: []string{"room"}, Body: large})
		}
		if !errors.Is(err, presence.ErrBusy) {
			t.Fatalf("after %d messages: %v", sent, err)
		}
		if most := maxUnsentHost/len(large) + 2; sent > most {
			t.Errorf("%d messages wait, want %d at most", sent, most)
		}
		if err := a.reg.Send(other, presence.Message{Channels: []string{"room"}, Body: []byte("{}")}); err != nil {
			t.Errorf("another host: %v", err)
		}
		box.Wants(t)
		time.Sleep(2 * time.Minute)
		box.Wants(t, "room (backend) {}")
		m := a.Messenger
		m.mu.Lock()
		if m.bytes != 0 || len(m.byHost) != 0 || len(m.unsent) != 0 {
			t.Errorf("%d bytes are left, %v", m.bytes, m.byHost)
		}
		m.mu.Unlock()
		if err := a.reg.Send(host, presence.Message{Channels: []string{"room"}, Body: large}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A message that differs by channel is queued whole or not at all.
func TestPartsOfAMessageAreQueuedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		host := testkit.MustHost(t, "a.example")
		a, b := start(t, n, "a"), start(t, n, "b")
		hall, room := b.listen(t, host, "ann", "hall"), b.listen(t, host, "bob", "room")
		m := presence.Message{Channels: []string{"hall", "room"}, Body: []byte("{}"), Bodies: presence.Bodies{"room": []byte(`{"x":"` + strings.Repeat("x", 100<<10) + `"}`)}}
		a.mu.Lock()
		a.bytes = maxUnsent - 50<<10
		a.mu.Unlock()
		if err := a.reg.Send(host, m); !errors.Is(err, presence.ErrBusy) {
			t.Errorf("without room: %v", err)
		}
		synctest.Wait()
		hall.Wants(t)
		a.mu.Lock()
		a.bytes = 0
		a.mu.Unlock()
		if err := a.reg.Send(host, m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		hall.Wants(t, "hall (backend) {}")
		room.Wants(t, "room (backend) "+string(m.Bodies["room"]))
	})
}

func TestAllHostsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a := start(t, n, "a")
		a.mu.Lock()
		a.bytes = maxUnsent
		a.mu.Unlock()
		if err := a.reg.Send(testkit.MustHost(t, "a.example"), presence.Message{Channels: []string{"room"}, Body: []byte("{}")}); !errors.Is(err, presence.ErrBusy) {
			t.Errorf("got %v", err)
		}
	})
}

// Clock implements [presence.Relay].
func (relay) Clock() uint64 { return 1 }
