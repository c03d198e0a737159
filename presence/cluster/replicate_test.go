package cluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// twoPods returns a simulation of two pods on a network without faults, in which nothing happens by
// itself. It must be used in a synctest bubble.
func twoPods(t *testing.T) *sim {
	t.Helper()
	s := newSim(t, 1)
	s.plan.grace = 3 * time.Second
	s.hosts = []presence.HostName{mustHost(t, "portal.example.com")}
	s.rules = &presence.Rules{Classifier: simClassifier{}, Grace: s.plan.grace}
	for range 2 {
		s.addPod(0).start(s, s.hosts)
	}
	t.Cleanup(func() {
		for _, c := range s.clients {
			c.mu.Lock()
			c.out.ended = true
			c.mu.Unlock()
		}
		for _, p := range s.pods {
			p.run.stop()
		}
		s.net.close()
	})
	time.Sleep(2 * time.Second)
	return s
}

// enter connects a client to a pod and joins the room.
func (s *sim) enter(pod int, user string, watch presence.Watch) *simClient {
	s.t.Helper()
	c := &simClient{sim: s, host: s.hosts[0], run: s.pods[pod].run, user: user, open: make(map[string]int), views: make(map[string]*simView)}
	c.out = &simOutbox{client: c}
	conn, err := c.run.reg.Connect(c.host, s.rules, &presence.User{ID: user}, c.out)
	if err != nil {
		s.t.Fatal(err)
	}
	c.conn = conn
	s.clients = append(s.clients, c)
	s.truth.arrive(c, "room")
	if err := conn.Join("room", watch, ""); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// shows checks the number of users that the client sees in the room.
func (c *simClient) shows(want int) {
	c.sim.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.views["room"]
	if v == nil {
		c.sim.t.Fatal("the join is not answered")
	}
	if len(v.members) != want || v.count != want {
		c.sim.t.Errorf("%d members and a count of %d, want %d", len(v.members), v.count, want)
	}
}

// frames returns the number of frames after the answer to the join.
func (c *simClient) frames() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.views["room"].seq - c.views["room"].first
}

// subscriptions returns the number of channels that a pod is subscribed to, and the number of all
// its subscriptions so far.
func (p *simPort) subscriptions() (channels, ever int) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	for _, sub := range p.subs {
		if strings.Contains(sub.subject, ".channel.") {
			channels++
		}
	}
	return channels, p.subscribed
}

func TestWatcherSeesUsersOfOtherPodsAtOnceAndAsTheyComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		s.enter(0, "ann", presence.WatchNone)
		time.Sleep(slack)
		watcher := s.enter(1, "bob", presence.WatchList)
		time.Sleep(slack)
		watcher.shows(2)
		cid := s.enter(0, "cid", presence.WatchNone)
		time.Sleep(slack)
		watcher.shows(3)
		s.truth.depart(cid, "room", false)
		if err := cid.conn.Leave("room", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(slack)
		watcher.shows(2)
		if n := watcher.frames(); n != 2 {
			t.Errorf("%d frames", n)
		}
	})
}

func TestCrowdTooLargeForOnePayloadIsSentInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		const users = 6000 // 200 bytes each: about three payloads
		id := func(i int) string { return fmt.Sprintf("%0200d", i) }
		early := s.enter(1, "early", presence.WatchList)
		for i := range users {
			s.enter(0, id(i), presence.WatchNone)
		}
		time.Sleep(time.Second)
		early.shows(users + 1)
		late := s.enter(1, "late", presence.WatchList)
		early.conn.Close()
		late.conn.Close()
		time.Sleep(time.Second)
		again := s.enter(1, "again", presence.WatchList) // by a check: the copy was dropped
		time.Sleep(time.Second)
		again.shows(users + 1)
	})
}

func TestReloadByTheOnlyWatcherKeepsTheSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		port := s.pods[1].run.port
		s.enter(0, "ann", presence.WatchNone)
		first := s.enter(1, "bob", presence.WatchList)
		time.Sleep(slack)
		_, before := port.subscriptions()
		first.conn.Close()
		time.Sleep(timing.Default().Linger - slack)
		again := s.enter(1, "bob", presence.WatchList)
		time.Sleep(slack)
		again.shows(2)
		if _, ever := port.subscriptions(); ever != before {
			t.Errorf("subscribed %d times more", ever-before)
		}
		time.Sleep(timing.Default().Linger)
		if n, _ := port.subscriptions(); n != 1 {
			t.Errorf("%d subscriptions while there is a watcher", n)
		}
		again.conn.Close()
		time.Sleep(timing.Default().Linger + 2*slack) // several end together
		if n, _ := port.subscriptions(); n != 0 {
			t.Errorf("%d subscriptions are left without a watcher", n)
		}
	})
}

// A check finds deltas that did not arrive. The users of a pod that is silent for too long are lost
// and then back, which watchers do not see within the grace period.
func TestLostDeltasAreFoundByACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		ann := s.enter(0, "ann", presence.WatchNone)
		watcher := s.enter(1, "bob", presence.WatchList)
		time.Sleep(slack)
		watcher.shows(2)
		s.net.setCut(0, 1, true)
		s.enter(0, "cid", presence.WatchNone)
		s.truth.depart(ann, "room", true)
		ann.conn.Close()
		time.Sleep(time.Second)
		s.net.setCut(0, 1, false)
		watcher.shows(2)
		frames := watcher.frames()
		for end := time.Now().Add(timing.Default().Check); watcher.frames() == frames && time.Now().Before(end); {
			time.Sleep(slack)
		}
		watcher.shows(3) // ann is in her grace period
		time.Sleep(s.plan.grace)
		watcher.shows(2)
		if n := s.pods[1].run.cluster.Report(ended(t)).Resyncs; n != 1 {
			t.Errorf("%d repairs were counted", n)
		}

		frames = watcher.frames()
		s.net.setCut(0, 1, true)
		time.Sleep(timing.Default().Gone + timing.Default().Heartbeat)
		s.net.setCut(0, 1, false)
		time.Sleep(2 * time.Second)
		watcher.shows(2)
		if n := watcher.frames() - frames; n != 0 {
			t.Errorf("%d frames", n)
		}
	})
}

// Deltas are always in transit in a busy channel, so a check would find a difference that is not
// real.
func TestBusyChannelIsNotSentWholeForAPeriodicCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoPods(t)
		ann := s.enter(0, "ann", presence.WatchNone)
		watcher := s.enter(1, "bob", presence.WatchList)
		time.Sleep(slack)
		for range 30 * 50 {
			s.truth.depart(ann, "room", false)
			if err := ann.conn.Leave("room", ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			s.truth.arrive(ann, "room")
			if err := ann.conn.Join("room", presence.WatchNone, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := s.pods[1].run.cluster.Report(ended(t)).Resyncs; n != 0 {
			t.Errorf("%d repairs of what was not broken", n)
		}
		time.Sleep(slack)
		watcher.shows(2)
	})
}
