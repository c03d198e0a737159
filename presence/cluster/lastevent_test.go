package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// page connects a connection with the encoding 1, which enters the channels with a signature.
func (p *labPod) page(t *testing.T, host presence.HostName, channels ...string) (*presence.Conn, *clustertest.Page) {
	t.Helper()
	page := new(clustertest.Page)
	c, err := p.reg.Connect(host, &presence.Rules{}, nil, page)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, channel := range channels {
		enter(t, c, channel)
	}
	return c, page
}

func enter(t *testing.T, c *presence.Conn, channel string) {
	t.Helper()
	if err := c.Enter(channel, presence.Entry{Proof: true}); err != nil {
		t.Fatal(err)
	}
}

// keep makes the pod keep last events.
func (p *labPod) keep() *labPod {
	p.reg.KeepLast(func(presence.HostName) time.Duration { return time.Minute })
	return p
}

func (p *labPod) sendEvent(t *testing.T, host presence.HostName, channel string, n int) {
	t.Helper()
	m := presence.Message{Channels: []string{channel}, Body: fmt.Appendf(nil, `{"n":%d}`, n)}
	if err := p.reg.Send(host, m); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// The backend sends by a pod without connections, and the first connection is on another pod,
// later.
func TestLastEventReachesLateSubscribersOnAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channel, other = "private-cache-a", "private-cache-b"
		n, host := &lab{}, mustHost(t, "example.com")
		a, b, c := n.settled(t, "x", "a").keep(), n.settled(t, "x", "b").keep(), n.settled(t, "y", "c").keep()
		time.Sleep(3 * time.Second)
		a.sendEvent(t, host, channel, 1)
		a.sendEvent(t, host, channel, 2)
		for _, p := range []*labPod{b, c} {
			conn, page := p.page(t, host, channel)
			page.Wants(t, channel+": ", channel+` (backend) {"n":2}`)
			enter(t, conn, other)
			page.Wants(t, other+": ", other+" miss")
		}
		onA, page := a.page(t, host, channel)
		page.Wants(t, channel+": ", channel+` (backend) {"n":2}`)
		b.sendEvent(t, host, channel, 3)
		page.Wants(t, channel+` (backend) {"n":3}`)
		_ = onA.SendToOthers([]string{channel}, []byte(`{"by":"client"}`))
		synctest.Wait()
		_, late := c.page(t, host, channel)
		late.Wants(t, channel+": ", channel+` (backend) {"n":3}`)
		for _, p := range []*labPod{a, b, c} {
			e, ok, truth := p.LastEvent(t.Context(), host, channel)
			if !ok || string(e.Body) != `{"n":3}` || !truth.Complete || e.TTL > time.Minute || e.TTL < 50*time.Second {
				t.Errorf("last event %+v, %v, %+v", e, ok, truth)
			}
		}
		time.Sleep(time.Minute)
		_, late = a.page(t, host, channel)
		late.Wants(t, channel+": ", channel+" miss")
	})
}

// A pod that does not answer delays the answer to a join no longer than a query.
func TestLastEventWaitsForSilentPodsAtMostForAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := &lab{}, mustHost(t, "example.com")
		a := n.settled(t, "x", "a").keep()
		s := n.Script(t, "x", "s", 1)
		s.Answer(func(*message.Query) []*message.Reply { return nil })
		s.Beat()
		_, page := a.page(t, host, "private-cache-a")
		page.Wants(t)
		time.Sleep(timing.Default().Timeout - time.Millisecond)
		page.Wants(t)
		time.Sleep(time.Millisecond)
		page.Wants(t, "private-cache-a: ", "private-cache-a miss")
	})
}

// The event that another pod answers with can arrive as a message too, later.
func TestEventsAreReceivedOnceWhileOtherPodsAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channel = "private-cache-a"
		n, host := &lab{}, mustHost(t, "example.com")
		a, b := n.settled(t, "x", "a").keep(), n.settled(t, "x", "b").keep()
		time.Sleep(3 * time.Second)
		// Without an event that is kept, the answer to a page of the first round can be that there
		// is none.
		if err := a.reg.Send(host, presence.Message{Channels: []string{channel}, Body: []byte(`{"n":"!"}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for i := range 40 {
			c, page := b.page(t, host)
			synctest.Wait() // it hears the messages of other pods
			go func() {
				for j := range 3 {
					m := presence.Message{Channels: []string{channel}, Body: fmt.Appendf(nil, `{"n":"%03d"}`, 3*i+j)}
					_ = a.reg.Send(host, m)
					time.Sleep(time.Duration(i*37%11) * 50 * time.Microsecond)
				}
			}()
			time.Sleep(time.Duration(i*53%17) * 50 * time.Microsecond)
			enter(t, c, channel)
			time.Sleep(time.Second)
			synctest.Wait()
			got := page.Take()
			if len(got) < 2 || got[0] != channel+": " {
				t.Fatalf("round %d: frames %q", i, got)
			}
			events := got[1:]
			if !slices.IsSorted(events) || len(slices.Compact(slices.Clone(events))) != len(events) {
				t.Errorf("round %d: events %q", i, events)
			}
			if last := fmt.Sprintf(`%s (backend) {"n":"%03d"}`, channel, 3*i+2); events[len(events)-1] != last {
				t.Errorf("round %d: events %q, want %q last", i, events, last)
			}
			c.Close()
		}
	})
}

func TestListenersReceiveTheirNumberOverAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := &lab{}, mustHost(t, "example.com")
		a, b := n.settled(t, "x", "a"), n.settled(t, "y", "b")
		time.Sleep(3 * time.Second)
		pages := make([]*clustertest.Page, 3)
		conns := make([]*presence.Conn, 3)
		for i, p := range []*labPod{a, a, b} {
			pages[i] = new(clustertest.Page)
			var err error
			if conns[i], err = p.reg.Connect(host, &presence.Rules{SubscriptionCount: true, Grace: time.Minute}, nil, pages[i]); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conns[i].Close)
			enter(t, conns[i], "private-a")
			time.Sleep(time.Second)
		}
		for i, page := range pages {
			got := page.Take()
			if len(got) == 0 || got[len(got)-1] != "private-a has 3" {
				t.Errorf("page %d: %q", i, got)
			}
		}
		conns[2].Close()
		time.Sleep(time.Second)
		pages[0].Wants(t, "private-a has 2")
		pages[1].Wants(t, "private-a has 2")
	})
}

// A user of a watchlist is online with the first connection on any pod, and offline some time after
// the last.
func TestWatchlistsSeeUsersOfAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := &lab{}, mustHost(t, "example.com")
		rules := &presence.Rules{Watchlist: true, Grace: 2 * time.Second}
		pods := []*labPod{n.settled(t, "x", "a"), n.settled(t, "x", "b"), n.settled(t, "y", "c")}
		time.Sleep(3 * time.Second)
		connect := func(p *labPod, user string) (*presence.Conn, *clustertest.Page) {
			page := new(clustertest.Page)
			c, err := p.reg.Connect(host, rules, &presence.User{ID: user}, page)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			return c, page
		}
		first, _ := connect(pods[0], "ada")
		_, early := connect(pods[0], "x")
		_, late := connect(pods[1], "y")
		watcher, page := connect(pods[2], "z")
		time.Sleep(time.Second)
		if err := watcher.WatchUsers([]string{"ada", "bob", "x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		page.Wants(t, "online [ada x] offline [bob]")
		second, _ := connect(pods[1], "ada")
		bob, _ := connect(pods[1], "bob")
		time.Sleep(time.Second)
		page.Wants(t, "online [bob] offline []")
		first.Close()
		bob.Close()
		time.Sleep(time.Second)
		bob, _ = connect(pods[0], "bob")
		time.Sleep(3 * time.Second)
		page.Wants(t)
		second.Close()
		bob.Quit()
		time.Sleep(time.Second)
		page.Wants(t, "online [] offline [bob]")
		time.Sleep(2 * time.Second)
		page.Wants(t, "online [] offline [ada]")
		if err := pods[0].Close(); err != nil { // its users are lost
			t.Error(err)
		}
		time.Sleep(3 * time.Second)
		page.Wants(t, "online [] offline [x]")
		early.Wants(t)
		late.Wants(t)
	})
}
