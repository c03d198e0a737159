package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// mailbox is an outbox that keeps messages as lines.
type mailbox struct {
	silentOutbox
	mu    sync.Mutex
	lines []string
}

func (b *mailbox) Queue(frames []byte, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := strings.Split(strings.TrimSuffix(string(frames), "\n"), "\n")
	if len(lines) != n {
		b.lines = append(b.lines, fmt.Sprintf("%d frames are told to be %d", len(lines), n))
	}
	b.lines = append(b.lines, lines...)
	return false
}

// take empties the mailbox.
func (b *mailbox) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

// wants compares the messages since the last wants.
func (b *mailbox) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := b.take(); !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}

// listen is enter, and waits for the effects.
func (p *labPod) listen(t *testing.T, host presence.HostName, user string, channels ...string) (*presence.Conn, *mailbox) {
	t.Helper()
	c, box := p.enter(t, host, user, channels...)
	synctest.Wait()
	return c, box
}

// enter connects a user, or with "" an anonymous client, and joins channels.
func (p *labPod) enter(t *testing.T, host presence.HostName, user string, channels ...string) (*presence.Conn, *mailbox) {
	t.Helper()
	var u *presence.User
	if user != "" {
		u = &presence.User{ID: user}
	}
	box := new(mailbox)
	c, err := p.reg.Connect(host, &presence.Rules{}, u, box)
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if err := c.Join(channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.Close)
	return c, box
}

func mustSend(t *testing.T, c *presence.Conn, text string, channels ...string) {
	t.Helper()
	if err := c.Send(channels, []byte(text)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestMessageReachesListenersOnAllPodsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host, other := mustHost(t, "a.example"), mustHost(t, "b.example")
		a, b, c := n.start(t, "x", "a"), n.start(t, "x", "b"), n.start(t, "y", "c")
		time.Sleep(3 * time.Second)
		ann, annBox := a.listen(t, host, "ann", "room", "hall")
		bob, bobBox := b.listen(t, host, "bob", "room")
		_, cidBox := c.listen(t, host, "cid", "room", "hall")
		_, eveBox := c.listen(t, other, "eve", "room")

		mustSend(t, ann, `{"n":1}`, "room", "hall", "room")
		for _, box := range []*mailbox{annBox, cidBox} {
			synctest.Wait()
			lines := box.take()
			slices.Sort(lines) // channels are delivered concurrently
			if !slices.Equal(lines, []string{`hall ann {"n":1}`, `room ann {"n":1}`}) {
				t.Errorf("messages %q", lines)
			}
		}
		bobBox.wants(t, `room ann {"n":1}`)

		mustSend(t, bob, `{"n":2}`, "room")
		mustSend(t, bob, `{"n":3}`, "room")
		for _, box := range []*mailbox{annBox, bobBox, cidBox} {
			box.wants(t, `room bob {"n":2}`, `room bob {"n":3}`)
		}
		eveBox.wants(t)
		for _, p := range []*labPod{a, b, c} {
			if n := len(sentOf[*message.Send](p.port)); p == a && n != 1 || p == b && n != 2 || p == c && n != 0 {
				t.Errorf("%s has published %d messages", p.link.Self().pod, n)
			}
		}
		if got := c.Report(t.Context()).Messages; got != (Messages{In: 3}) {
			t.Errorf("the report counts %+v", got)
		}
	})
}

func TestBackendReachesAnyConnectionFromAnyPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host := mustHost(t, "a.example")
		a, b := n.start(t, "x", "a"), n.start(t, "x", "b")
		time.Sleep(3 * time.Second)
		bob, box := b.listen(t, host, "", "anonymous")
		private := bob.ID().PrivateChannel()
		if err := a.reg.Send(host, []string{private, "nobody"}, []byte("{}")); err != nil { // a has no connection of the host
			t.Fatal(err)
		}
		box.wants(t, private+" (backend) {}")
		if err := b.reg.Send(host, []string{private}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		box.wants(t, private+" (backend) {}")
		if n := len(sentOf[*message.Send](b.port)); n != 0 {
			t.Errorf("%d messages are published to a connection of this pod", n)
		}
	})
}

// shards returns how many shards the pod is subscribed to.
func (p *labPort) shards() (n int) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	for _, sub := range p.subs {
		if strings.Contains(sub.subject, ".message.") {
			n++
		}
	}
	return n
}

func TestPodReceivesOnlyMessagesOfItsHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		a := n.settled(t, "x", "a")
		wants := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if got := a.port.shards(); got != want {
				t.Errorf("%d subscriptions %s, want %d", got, when, want)
			}
		}
		host := mustHost(t, "a.example")
		other := host
		for i := 0; shardOf(other) != shardOf(host) || other == host; i++ {
			other = mustHost(t, fmt.Sprintf("host-%d.example", i))
		}
		wants(0, "without connections")
		first, _ := a.listen(t, host, "ann")
		second, _ := a.listen(t, other, "ann")
		wants(1, "with two hosts of one shard")
		first.Close()
		time.Sleep(2 * defaultTiming.linger)
		wants(1, "with one of them")
		second.Close()
		time.Sleep(defaultTiming.linger - time.Second)
		wants(1, "soon after the last")
		again, _ := a.listen(t, host, "ann")
		time.Sleep(2 * defaultTiming.linger)
		wants(1, "with one that came back")
		again.Close()
		time.Sleep(defaultTiming.linger + time.Second)
		wants(0, "after the last")
		a.listen(t, host, "ann")
		wants(1, "at last")
	})
}

func TestMessagesThatComeTwiceOrLateAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host, other := mustHost(t, "a.example"), mustHost(t, "b.example")
		a, s := n.settled(t, "x", "a"), n.script(t, "x", "s", 1)
		_, box := a.listen(t, host, "ann", "room")
		send := func(seq uint64, h presence.HostName) {
			s.link.seq.Store(seq - 1)
			s.link.send(s.link.shardSubject(shardOf(host)), &message.Send{
				Host: h, Channels: []string{"room", "room"}, Message: fmt.Appendf(nil, `{"n":%d}`, seq),
			})
		}
		send(1, host) // from an unknown pod
		s.beat()
		for _, seq := range []uint64{5, 5, 4, 6, 1, 9} {
			send(seq, host)
		}
		send(10, other) // belongs to another shard
		box.wants(t, `room  {"n":5}`, `room  {"n":6}`, `room  {"n":9}`)
		r := a.Report(t.Context())
		if r.Messages != (Messages{In: 3}) || r.Ignored.Unknown != 2 || r.Ignored.Repeated != 3 {
			t.Errorf("the report counts %+v and %+v", r.Messages, r.Ignored)
		}
		s.goodbye()
		for in := range a.link.received {
			if len(in.windows) > 0 {
				t.Errorf("%v is kept of pods that are gone", in.windows)
			}
		}
		later := n.script(t, "x", "s", 2) // its numbers restart
		later.beat()
		s.link = later.link
		send(3, host)
		box.wants(t, `room  {"n":3}`)
	})
}

// A slow bus delays the senders of the busiest host, and no others.
func TestMessagesFasterThanTheBusAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host, other := mustHost(t, "a.example"), mustHost(t, "b.example")
		a, b := n.settled(t, "x", "a"), n.start(t, "x", "b")
		time.Sleep(3 * time.Second)
		_, box := b.listen(t, other, "bob", "room")
		n.mu.Lock()
		a.port.slow = time.Minute
		n.mu.Unlock()
		large := []byte(`{"x":"` + strings.Repeat("x", 200<<10) + `"}`)
		var err error
		sent := 0
		for ; err == nil && sent < 1000; sent++ {
			err = a.reg.Send(host, []string{"room"}, large)
		}
		if !errors.Is(err, presence.ErrBusy) {
			t.Fatalf("after %d messages: %v", sent, err)
		}
		if most := maxUnsentHost/len(large) + 2; sent > most {
			t.Errorf("%d messages wait, want %d at most", sent, most)
		}
		if err := a.reg.Send(other, []string{"room"}, []byte("{}")); err != nil {
			t.Errorf("another host: %v", err)
		}
		box.wants(t)
		time.Sleep(2 * time.Minute)
		box.wants(t, "room (backend) {}")
		m := a.messenger
		m.mu.Lock()
		if m.bytes != 0 || len(m.byHost) != 0 || len(m.unsent) != 0 {
			t.Errorf("%d bytes are left, %v", m.bytes, m.byHost)
		}
		m.mu.Unlock()
		if err := a.reg.Send(host, []string{"room"}, large); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestAllHostsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		a := n.settled(t, "x", "a")
		a.messenger.mu.Lock()
		a.messenger.bytes = maxUnsent
		a.messenger.mu.Unlock()
		if err := a.reg.Send(mustHost(t, "a.example"), []string{"room"}, []byte("{}")); !errors.Is(err, presence.ErrBusy) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMessagesSentBeforeTheEndArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host := mustHost(t, "a.example")
		a, b := n.start(t, "x", "a"), n.start(t, "x", "b")
		time.Sleep(3 * time.Second)
		_, box := b.listen(t, host, "bob", "room")
		for range 10 {
			if err := a.reg.Send(host, []string{"room"}, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		box.wants(t, slices.Repeat([]string{"room (backend) {}"}, 10)...)
		if err := a.reg.Send(host, []string{"room"}, []byte("{}")); err != nil {
			t.Errorf("without a relay: %v", err)
		}
		box.wants(t)
	})
}

// Whatever the network does, no listener receives a message twice, and the messages of one sender
// stay in order.
func TestMessagesOverABadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		ann, bob := s.enter(0, "ann", presence.WatchNone), s.enter(1, "bob", presence.WatchNone)
		time.Sleep(slack)
		s.net.mu.Lock()
		s.net.faults = simFaults{lost: 0.2, doubled: 0.3, slow: 0.3, delay: 20 * time.Millisecond}
		s.net.mu.Unlock()
		const messages = 500
		for i := range messages {
			if err := ann.conn.Send([]string{"room"}, fmt.Appendf(nil, `{"n":%04d}`, 1000+i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(slack)
		ann.mu.Lock()
		own := len(ann.texts)
		ann.mu.Unlock()
		if own != messages {
			t.Errorf("the sender has %d of %d messages", own, messages)
		}
		bob.mu.Lock()
		defer bob.mu.Unlock()
		if !slices.IsSorted(bob.texts) || len(slices.Compact(slices.Clone(bob.texts))) != len(bob.texts) {
			t.Errorf("messages came twice or out of order: %q", bob.texts)
		}
		if len(bob.texts) < messages/4 || len(bob.texts) > messages*9/10 {
			t.Errorf("%d of %d messages came", len(bob.texts), messages)
		}
	})
}
