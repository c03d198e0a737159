package events

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestChangesOfOnePod(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *stage)
	}{
		{"a user with one connection", func(s *stage) {
			c := s.connect("ada", "room")
			s.expect("came", "user.online  0 ada", "channel.occupied room 1", "member.joined room 1 ada")
			_ = c.Leave("room", "")
			s.expect("left", "member.left room 0 ada", "channel.vacated room 0")
			c.Close()
			s.expect("lost")
			time.Sleep(2 * time.Second)
			s.expect("after the grace", "user.offline  0 ada")
		}},
		{"a user who comes back in time", func(s *stage) {
			c := s.connect("ada", "room")
			s.expect("came", "user.online  0 ada", "channel.occupied room 1", "member.joined room 1 ada")
			c.Close()
			time.Sleep(time.Second)
			d := s.connect("ada", "room")
			time.Sleep(3 * time.Second)
			s.expect("back")
			_ = d.Leave("room", "")
			s.expect("left", "member.left room 0 ada", "channel.vacated room 0")
		}},
		{"a user who comes back in time and leaves", func(s *stage) {
			c := s.connect("ada", "room")
			s.settle()
			s.take()
			c.Close()
			s.expect("lost")
			d := s.connect("ada", "room")
			_ = d.Leave("room", "")
			s.expect("left", "member.left room 0 ada", "channel.vacated room 0")
		}},
		{"two connections, and two users", func(s *stage) {
			a := s.connect("ada", "room")
			s.connect("ada", "room")
			s.settle()
			s.take()
			s.connect("bob", "room")
			s.expect("came", "user.online  0 bob", "member.joined room 2 bob")
			_ = a.Leave("room", "")
			s.expect("one of two left")
		}},
		{"a user who is lost at once", func(s *stage) {
			s.connect("ada", "room").Close()
			s.expect("came", "user.online  0 ada", "channel.occupied room 1", "member.joined room 1 ada")
			time.Sleep(2 * time.Second)
			s.expect("after the grace", "user.offline  0 ada", "member.left room 0 ada", "channel.vacated room 0")
		}},
		{"a user who leaves at once", func(s *stage) {
			c := s.connect("ada", "room", "other")
			_ = c.Leave("room", "")
			s.expect("came and left", "user.online  0 ada", "channel.occupied other 1", "member.joined other 1 ada",
				"channel.occupied room 1", "member.joined room 1 ada", "member.left room 0 ada", "channel.vacated room 0")
		}},
		{"another user who leaves at once", func(s *stage) {
			s.connect("bob", "room")
			s.settle()
			s.take()
			c := s.connect("ada", "room", "other")
			_ = c.Leave("room", "")
			s.expect("came and left", "user.online  0 ada", "channel.occupied other 1", "member.joined other 1 ada",
				"member.joined room 2 ada", "member.left room 1 ada")
		}},
		{"a user who leaves at once, again and again", func(s *stage) {
			s.connect("bob", "room")
			s.settle()
			s.take()
			c := s.connect("ada")
			for range 100 {
				_ = c.Join("room", presence.WatchNone, "")
				_ = c.Leave("room", "")
			}
			s.expect("came and left", "user.online  0 ada", "member.joined room 2 ada", "member.left room 1 ada")
		}},
		{"a user who leaves at once and comes back", func(s *stage) {
			c := s.connect("ada", "other")
			s.settle()
			s.take()
			_ = c.Join("room", presence.WatchNone, "")
			_ = c.Leave("room", "")
			_ = c.Join("room", presence.WatchNone, "")
			s.expect("came", "channel.occupied room 1", "member.joined room 1 ada")
		}},
		{"an anonymous channel that ends at once", func(s *stage) {
			s.connect("", "anonymous-1").Close()
			s.expect("came", "channel.occupied anonymous-1 1")
			time.Sleep(2 * time.Second)
			s.expect("after the grace", "channel.vacated anonymous-1 0")
			_ = s.connect("", "anonymous-1").Leave("anonymous-1", "")
			s.expect("left", "channel.occupied anonymous-1 1", "channel.vacated anonymous-1 0")
		}},
		{"another login", func(s *stage) {
			c := s.connect("", "anonymous-1")
			s.expect("came", "channel.occupied anonymous-1 1")
			_ = c.Authenticate(presence.User{ID: "ada"}, nil)
			s.expect("logged in", "user.online  0 ada")
			_ = c.Join("room", presence.WatchNone, "")
			s.expect("joined", "channel.occupied room 1", "member.joined room 1 ada")
			_ = c.Authenticate(presence.User{ID: "bob"}, nil)
			s.expect("another user", "user.online  0 bob", "user.offline  0 ada", "member.joined room 2 bob", "member.left room 1 ada")
		}},
		{"channels without names", func(s *stage) {
			c := s.connect("ada", "counted-1", "hidden-1", "anonymous-1")
			s.expect("came", "user.online  0 ada", "channel.occupied counted-1 1", "channel.occupied anonymous-1 1")
			s.connect("bob", "counted-1", "hidden-1", "anonymous-1")
			s.expect("another came", "user.online  0 bob")
			for _, name := range []string{"counted-1", "hidden-1", "anonymous-1"} {
				_ = c.Leave(name, "")
			}
			s.expect("one left")
		}},
		{"connections that the backend has vouched for", func(s *stage) {
			c := s.connect("")
			join := func(c *presence.Conn) {
				if err := c.Enter("counted-1", presence.Entry{Proof: true}); err != nil {
					s.t.Fatal(err)
				}
			}
			join(c)
			s.expect("came", "channel.occupied counted-1 1")
			c.Close()
			time.Sleep(time.Second)
			back := s.connect("")
			join(back)
			time.Sleep(3 * time.Second)
			s.expect("back within the grace")
			join(s.connect("ada"))
			s.expect("a user too", "user.online  0 ada")
			_ = back.Leave("counted-1", "")
			s.expect("left")
			back.Close()
		}},
		{"numbers of connections", func(s *stage) {
			s.change(func() { s.wanted.Counts, s.wanted.Users, s.wanted.Sum = true, false, 1 })
			s.Refresh()
			time.Sleep(mostPause)
			s.settle()
			s.take()
			a := s.connect("ada", "room", "hidden-1")
			s.expect("came", "channel.occupied room 1", "member.joined room 1 ada", "subscription.count room 1")
			b := s.connect("ada", "room")
			s.expect("another", "subscription.count room 2")
			s.Restart(s.host, ShardOf("room"))
			time.Sleep(mostPause)
			s.expect("another epoch", "channel.state room 1 ada", "subscription.count room 2", "epoch.complete  0")
			b.Close()
			s.expect("one lost", "subscription.count room 1")
			a.Close()
			s.expect("in the grace")
			time.Sleep(2 * time.Second)
			s.expect("after it", "member.left room 0 ada", "subscription.count room 0", "channel.vacated room 0")
		}},
		{"numbers of many connections", func(s *stage) {
			s.change(func() { s.wanted.Counts, s.wanted.Users, s.wanted.Sum = true, false, 1 })
			s.Refresh()
			time.Sleep(mostPause)
			for range calmConns {
				s.connect("", "anonymous-1")
			}
			s.settle()
			s.take()
			s.connect("", "anonymous-1")
			s.expect("over the limit", "subscription.count anonymous-1 101")
			for range 3 {
				s.connect("", "anonymous-1")
				time.Sleep(time.Second)
			}
			s.expect("within the pause")
			time.Sleep(countPause)
			s.expect("after it", "subscription.count anonymous-1 104")
		}},
		{"an anonymous channel that is lost", func(s *stage) {
			c := s.connect("", "anonymous-1")
			s.settle()
			s.take()
			c.Close()
			time.Sleep(1900 * time.Millisecond)
			s.expect("in the grace")
			time.Sleep(100 * time.Millisecond)
			s.expect("after it", "channel.vacated anonymous-1 0")
		}},
		{"other info", func(s *stage) {
			c := s.connect("ada", "room")
			s.settle()
			s.take()
			_ = c.Authenticate(presence.User{ID: "ada", Info: `{"n":1}`}, nil)
			s.expect("changed")
			_ = c.Join("other", presence.WatchNone, "")
			s.expect("joined with it", "channel.occupied other 1", `member.joined other 1 ada{"n":1}`)
			_ = c.Leave("room", "")
			s.expect("left without it", "member.left room 0 ada", "channel.vacated room 0")
		}},
		{"a user whom the sink hides", func(s *stage) {
			s.change(func() { s.hide = "ada" })
			c := s.connect("ada", "room")
			s.expect("came", "channel.occupied room 1")
			s.connect("bob", "room")
			s.expect("another came", "user.online  0 bob", "member.joined room 2 bob")
			_ = c.Leave("room", "")
			s.expect("left")
		}},
		{"no names of users who are online", func(s *stage) {
			s.change(func() { s.wanted.Users, s.wanted.Sum = false, 1 })
			s.Refresh()
			time.Sleep(mostPause)
			s.settle()
			s.take()
			s.connect("ada", "room")
			s.expect("came", "channel.occupied room 1", "member.joined room 1 ada")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.do(aloneStage(t)) })
		})
	}
}

func TestEpochIsCompleteAlsoWithNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.epochs = map[uint8]uint64{3: 7}
		s.Refresh()
		s.settle()
		if got := s.take(); len(got) > 0 {
			t.Errorf("before it is known whether there are other pods: %q", texts(got, -1))
		}
		s.SetPeers(nil)
		s.settle()
		seen := make(map[uint8]bool)
		for _, e := range s.take() {
			if e.Type != EpochComplete || seen[e.Shard] || e.Epoch != s.epochs[e.Shard] || e.Host != s.host {
				t.Errorf("got %+v", e)
			}
			seen[e.Shard] = true
		}
		if len(seen) != Shards {
			t.Errorf("shards %v", seen)
		}
	})
}

// A disk can be lost: hosts that the configuration names need no record.
func TestNamedHostsHaveEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.cfg.Named = func(visit func(presence.HostName)) { visit(s.host) }
		s.SetPeers(nil)
		s.Refresh()
		s.settle()
		if got := len(s.take()); got != Shards {
			t.Errorf("%d events", got)
		}
	})
}

func TestEpochNamesWhatIsThere(t *testing.T) {
	const members = MaxState*2 + 100
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		for i := range members {
			s.connect(fmt.Sprintf("u%d", i), "room")
		}
		s.connect("ada", "counted-1", "hidden-1")
		s.connect("", "anonymous-1")
		s.SetPeers(nil)
		s.settle()
		all := s.take()
		parts, named, online := 0, make(map[string]bool), make(map[string]bool)
		for _, e := range all {
			switch {
			case e.Type == ChannelState && e.Channel == "room":
				if parts++; e.Count != members || len(e.Records) > MaxState {
					t.Errorf("a part of %d has the count %d", len(e.Records), e.Count)
				}
				for _, r := range e.Records {
					named[r] = true
				}
			case e.Type == ChannelState:
				if e.Count != 1 || len(e.Records) > 0 || e.Channel == "hidden-1" {
					t.Errorf("got %+v", e)
				}
			case e.Type == UserOnline:
				online[e.Records[0]] = true
			case e.Type != EpochComplete:
				t.Errorf("got %+v", e)
			}
		}
		if parts != 3 || len(named) != members || len(online) != members+1 {
			t.Errorf("%d members in %d parts, and %d users online", len(named), parts, len(online))
		}
		for shard := range Shards {
			list := texts(all, shard)
			if i := slices.Index(list, "epoch.complete  0"); i != len(list)-1 {
				t.Errorf("shard %d: complete is number %d of %d", shard, i, len(list))
			}
		}
	})
}

func TestFullQueueBeginsAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aloneStage(t)
		shard := ShardOf("room")
		before := s.Epochs(s.host)[shard]
		time.Sleep(calmAfter)
		s.change(func() { s.full = true })
		s.connect("ada", "room")
		s.settle()
		s.change(func() { s.full = false })
		s.connect("bob", "room")
		s.expect("nothing is told of the shards of room and ada until they restart",
			slices.DeleteFunc([]string{"user.online  0 bob"}, func(string) bool { return ShardOf("bob") == shard || ShardOf("bob") == ShardOf("ada") })...)
		began := time.Now()
		s.Restart(s.host, shard)
		s.settle()
		got := texts(s.take(), int(shard))
		if !slices.Contains(got, "channel.state room 2 ada,bob") && !slices.Contains(got, "channel.state room 2 bob,ada") {
			t.Errorf("got %q", got)
		}
		if now := s.Epochs(s.host)[shard]; now <= before {
			t.Errorf("epoch %d follows %d", now, before)
		}
		s.Restart(s.host, shard) // the second one waits, and the third one longer
		for range 2 {
			for len(s.take()) == 0 && time.Since(began) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			s.settle()
			s.take()
			s.Restart(s.host, shard)
		}
		if took := time.Since(began); took < 3*leastPause || took > calmAfter {
			t.Errorf("three epochs took %v", took)
		}
	})
}

// A join must not wait for the Sink, which may wait for the disk.
func TestJoinsDoNotWaitForTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aloneStage(t)
		stall := make(chan struct{})
		s.change(func() { s.stall = stall })
		s.connect("ada", "room")
		s.settle()
		if got := s.take(); len(got) != 0 {
			t.Fatalf("%q was told", texts(got, -1))
		}
		const users = 3000
		begin := time.Now()
		for i := range users { // one that waited would be a deadlock
			s.connect(fmt.Sprint("user-", i), "room")
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the joins took %v", took)
		}
		close(stall)
		s.settle()
		joined := 0
		for _, e := range s.take() {
			if e.Type == MemberJoined {
				joined++
			}
		}
		if joined != users+1 {
			t.Errorf("%d joined, want %d", joined, users+1)
		}
	})
}

func TestReloadBeginsAnotherEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aloneStage(t)
		s.connect("ada", "room")
		s.settle()
		s.take()
		s.Refresh()
		s.expect("a reload that changes nothing")
		time.Sleep(calmAfter)
		s.change(func() { s.wanted.Sum++ })
		s.Refresh()
		s.settle()
		if got := texts(s.take(), int(ShardOf("room"))); !slices.Contains(got, "channel.state room 1 ada") {
			t.Errorf("got %q", got)
		}
		s.change(func() { s.wanted.On = false })
		s.Refresh()
		s.connect("bob", "room")
		s.expect("without events")
		s.change(func() { s.wanted.On = true })
		s.Refresh()
		time.Sleep(mostPause)
		s.settle()
		if got := len(s.take()); got != Shards+1+2 { // complete, the room, and two users
			t.Errorf("%d events after they are back", got)
		}
	})
}

func TestSuspendedSpeakerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aloneStage(t)
		c := s.connect("ada", "room")
		s.settle()
		s.take()
		s.Suspend()
		c.Close()
		s.connect("bob", "room")
		s.Refresh()
		time.Sleep(calmAfter)
		s.expect("suspended")
		s.SetPeers(nil)
		s.settle()
		got := texts(s.take(), int(ShardOf("room")))
		if !slices.Contains(got, "channel.state room 1 bob") || got[len(got)-1] != "epoch.complete  0" {
			t.Errorf("got %q", got)
		}
	})
}

func TestEpochWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.change(func() { s.broken = true })
		s.connect("ada", "room")
		s.SetPeers(nil)
		time.Sleep(10 * time.Second)
		s.expect("without a disk")
		s.change(func() { s.broken = false })
		time.Sleep(retryEpoch << retryDoubles)
		s.settle()
		if got := len(s.take()); got != Shards+2 {
			t.Errorf("%d events", got)
		}
	})
}

func TestOwnersAreSpreadAndStable(t *testing.T) {
	pods := []string{"dc/a/1", "dc/b/2", "dc/c/3", "dc/d/4"}
	count, moved := make(map[string]int), 0
	for i := range 500 {
		host, err := presence.ParseHostName(fmt.Sprintf("h%d.example.com", i))
		if err != nil {
			t.Fatal(err)
		}
		for shard := range uint8(Shards) {
			owner := OwnerOf(host, shard, pods)
			count[owner]++
			backward := slices.Clone(pods)
			slices.Reverse(backward)
			if other := OwnerOf(host, shard, backward); other != owner {
				t.Fatalf("the order matters: %s and %s", owner, other)
			}
			if without := OwnerOf(host, shard, pods[:3]); owner != pods[3] && without != owner {
				moved++
			}
		}
	}
	for _, pod := range pods {
		if count[pod] < 800 || count[pod] > 1200 {
			t.Errorf("%s owns %d of 4000 shards", pod, count[pod])
		}
	}
	if moved > 0 {
		t.Errorf("%d shards of other pods have moved", moved)
	}
	if got := OwnerOf(presence.HostName{}, 0, nil); got != "" {
		t.Errorf("the owner of nothing is %q", got)
	}
}

// Epochs are recorded again once a day. A slow disk delays no events meanwhile.
func TestEpochsAreRecordedAgainInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aloneStage(t)
		s.connect("ada", "room")
		s.settle()
		s.take()
		s.change(func() { s.slow = time.Hour })
		time.Sleep(refreshEvery + time.Hour + time.Minute)
		s.connect("bob", "room")
		s.expect("while the disk is slow", "member.joined room 2 bob", "user.online  0 bob")
	})
}
