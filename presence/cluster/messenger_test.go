package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// listen is enter, and waits for the effects.
func (p *labPod) listen(t *testing.T, host presence.HostName, user string, channels ...string) (*presence.Conn, *clustertest.Mailbox) {
	t.Helper()
	c, box := p.enter(t, host, user, channels...)
	synctest.Wait()
	return c, box
}

// enter connects a user, or with "" an anonymous client, and joins channels.
func (p *labPod) enter(t *testing.T, host presence.HostName, user string, channels ...string) (*presence.Conn, *clustertest.Mailbox) {
	t.Helper()
	var u *presence.User
	if user != "" {
		u = &presence.User{ID: user}
	}
	box := new(clustertest.Mailbox)
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
		for _, box := range []*clustertest.Mailbox{annBox, cidBox} {
			synctest.Wait()
			lines := box.Take()
			slices.Sort(lines) // channels are delivered concurrently
			if !slices.Equal(lines, []string{`hall ann {"n":1}`, `room ann {"n":1}`}) {
				t.Errorf("messages %q", lines)
			}
		}
		bobBox.Wants(t, `room ann {"n":1}`)

		mustSend(t, bob, `{"n":2}`, "room")
		mustSend(t, bob, `{"n":3}`, "room")
		for _, box := range []*clustertest.Mailbox{annBox, bobBox, cidBox} {
			box.Wants(t, `room bob {"n":2}`, `room bob {"n":3}`)
		}
		eveBox.Wants(t)
		for _, p := range []*labPod{a, b, c} {
			if n := len(clustertest.SentOf[*message.Send](p.port)); p == a && n != 1 || p == b && n != 2 || p == c && n != 0 {
				t.Errorf("%s has published %d messages", p.link.Self().Pod, n)
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
		if err := a.reg.Send(host, presence.Message{Channels: []string{private, "nobody"}, Body: []byte("{}")}); err != nil { // a has no connection of the host
			t.Fatal(err)
		}
		box.Wants(t, private+" (backend) {}")
		if err := b.reg.Send(host, presence.Message{Channels: []string{private}, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		box.Wants(t, private+" (backend) {}")
		if n := len(clustertest.SentOf[*message.Send](b.port)); n != 0 {
			t.Errorf("%d messages are published to a connection of this pod", n)
		}
	})
}

// A repetition reaches nobody although plugins have replaced the message in other ways, whichever
// pod it is sent to.
func TestReplacedMessageReachesAllPodsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host := mustHost(t, "a.example")
		pods := []*labPod{n.start(t, "x", "a"), n.start(t, "x", "b"), n.start(t, "y", "empty")}
		time.Sleep(3 * time.Second)
		_, hall := pods[0].listen(t, host, "ann", "hall")
		_, room := pods[1].listen(t, host, "bob", "room")
		for from := range pods {
			key := presence.NewMessageKey(fmt.Sprint(from))
			for i, bodies := range []presence.Bodies{{}, {"hall": []byte(`{"n":1}`)}, {"hall": []byte(`{"n":2}`), "room": []byte(`{"n":3}`)}} {
				m := presence.Message{Channels: []string{"hall", "room"}, Key: key, Body: fmt.Appendf(nil, `{"n":%d}`, i), Bodies: bodies}
				if err := pods[(from+i)%len(pods)].reg.Send(host, m); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			hall.Wants(t, `hall (backend) {"n":0}`)
			room.Wants(t, `room (backend) {"n":0}`)
		}
		time.Sleep(6 * time.Minute) // the keys are forgotten
	})
}

// A message for a user reaches each of 50 tabs on three pods once, except the one that is excepted,
// and a repetition reaches nobody, whichever pod it is sent to.
func TestMessageForAUserReachesTabsOnAllPodsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host := mustHost(t, "a.example")
		pods := []*labPod{n.start(t, "x", "a"), n.start(t, "x", "b"), n.start(t, "y", "c"), n.start(t, "y", "empty")}
		time.Sleep(3 * time.Second)
		var (
			tabs  []*presence.Conn
			boxes []*clustertest.Mailbox
		)
		for i := range 50 {
			tab, box := pods[i%3].enter(t, host, "ann", "room")
			tabs, boxes = append(tabs, tab), append(boxes, box)
		}
		_, bob := pods[1].listen(t, host, "bob", "hall")
		for from, p := range pods {
			body := fmt.Sprintf(`{"from":%d}`, from)
			m := presence.Message{
				Users: []string{"ann"}, Channels: []string{"room"}, Except: tabs[from].ID(),
				Key: presence.NewMessageKey(body), Body: []byte(body),
			}
			for i := range pods {
				if err := pods[(from+i)%len(pods)].reg.Send(host, m); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			for i, box := range boxes {
				got := box.Take()
				slices.Sort(got)
				want := []string{"room (backend) " + body, tabs[i].ID().PrivateChannel() + " (backend) " + body}
				if i == from {
					want = nil
				}
				if !slices.Equal(got, want) {
					t.Errorf("sent to %s, tab %d of 50 has %q, want %q", p.link.Self().Pod, i, got, want)
				}
			}
		}
		bob.Wants(t)
		time.Sleep(6 * time.Minute) // the keys are forgotten
	})
}

// shards returns how many shards the pod is subscribed to.
func shards(p *clustertest.Port) (n int) {
	for _, subject := range p.Subjects() {
		if strings.Contains(subject, ".message.") {
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
			if got := shards(a.port); got != want {
				t.Errorf("%d subscriptions %s, want %d", got, when, want)
			}
		}
		host := mustHost(t, "a.example")
		other := host
		for i := 0; link.ShardOf(other) != link.ShardOf(host) || other == host; i++ {
			other = mustHost(t, fmt.Sprintf("host-%d.example", i))
		}
		wants(0, "without connections")
		first, _ := a.listen(t, host, "ann")
		second, _ := a.listen(t, other, "ann")
		wants(1, "with two hosts of one shard")
		first.Close()
		time.Sleep(2 * timing.Default().Linger)
		wants(1, "with one of them")
		second.Close()
		time.Sleep(timing.Default().Linger - time.Second)
		wants(1, "soon after the last")
		again, _ := a.listen(t, host, "ann")
		time.Sleep(2 * timing.Default().Linger)
		wants(1, "with one that came back")
		again.Close()
		time.Sleep(timing.Default().Linger + time.Second)
		wants(0, "after the last")
		a.listen(t, host, "ann")
		wants(1, "at last")
	})
}

func TestMessagesThatComeTwiceOrLateAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n lab
		host, other := mustHost(t, "a.example"), mustHost(t, "b.example")
		a, s := n.settled(t, "x", "a"), n.Script(t, "x", "s", 1)
		_, box := a.listen(t, host, "ann", "room")
		send := func(seq uint64, h presence.HostName) {
			s.SetSeq(seq - 1)
			s.Send(s.Link.Shard(link.ShardOf(host)), &message.Send{
				Host: h, Channels: []string{"room", "room"}, Message: fmt.Appendf(nil, `{"n":%d}`, seq),
			})
		}
		send(1, host) // from an unknown pod
		s.Beat()
		for _, seq := range []uint64{5, 5, 4, 6, 1, 9} {
			send(seq, host)
		}
		send(10, other) // belongs to another shard
		box.Wants(t, `room  {"n":5}`, `room  {"n":6}`, `room  {"n":9}`)
		r := a.Report(t.Context())
		if r.Messages != (Messages{In: 3}) || r.Ignored.Unknown != 2 || r.Ignored.Repeated != 3 {
			t.Errorf("the report counts %+v and %+v", r.Messages, r.Ignored)
		}
		s.Goodbye()
		later := n.Script(t, "x", "s", 2) // its numbers restart
		later.Beat()
		s = later
		send(3, host)
		box.Wants(t, `room  {"n":3}`)
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
			if err := a.reg.Send(host, presence.Message{Channels: []string{"room"}, Body: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		box.Wants(t, slices.Repeat([]string{"room (backend) {}"}, 10)...)
		if err := a.reg.Send(host, presence.Message{Channels: []string{"room"}, Body: []byte("{}")}); err != nil {
			t.Errorf("without a relay: %v", err)
		}
		box.Wants(t)
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
