package replication

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// loseDeltas makes the network lose the live deltas of a channel to the pod.
func (p *testPod) loseDeltas(channel string) {
	p.port.Lose(func(m message.Message) bool {
		d, ok := m.(*message.Delta)
		return ok && d.Channel == channel
	})
}

// sameShard returns names of channels in one shard, and one in another.
func sameShard(n int) (same []string, other string) {
	shard := presence.ChannelShardOf("room")
	for i := 0; len(same) < n || other == ""; i++ {
		name := fmt.Sprint("room-", i)
		switch {
		case presence.ChannelShardOf(name) != shard:
			other = name
		case len(same) < n:
			same = append(same, name)
		}
	}
	return same, other
}

// checkedSince returns the channels that the pod has checked since then.
func checkedSince(p *testPod, then time.Time) (channels []string) {
	for _, c := range sentSince[*message.Check](p, then) {
		for _, ch := range c.Channels {
			channels = append(channels, ch.Channel)
		}
	}
	return channels
}

func TestLostDelta(t *testing.T) {
	same, other := sameShard(2)
	watched, unwatched := same[0], same[1]
	tests := []struct {
		name   string
		lost   string        // channel of the lost delta
		after  string        // channel of a delta after it; "" if there is none
		within time.Duration // until the watcher sees the users of its channel
		checks int           // channels that are checked
	}{
		{"without one after it is found by the sum", watched, "", timing.Default().Check, 1},
		{"is found by the next one in the channel", watched, watched, 2 * gapWait, 1},
		{"is found by the next one in the shard", watched, unwatched, 2 * gapWait, 1},
		{"is not found by one in another shard", watched, other, timing.Default().Check, 1},
		{"of a channel that is not watched costs one check", unwatched, watched, 2 * gapWait, 1},
		{"of a channel that is not watched costs one check, without one after it", unwatched, "", timing.Default().Check, 1},
		{"of a shard that is not followed costs nothing", other, watched, 2 * gapWait, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, host := new(clustertest.Lab), testPlace(t).host
				a, b := start(t, n, "a"), start(t, n, "b")
				time.Sleep(3 * time.Second)
				b.enter(t, place{host, watched}, "bob", presence.WatchNone)
				view := a.enter(t, place{host, watched}, "ann", presence.WatchList)
				time.Sleep(time.Second)
				began, want := time.Now(), 2
				a.loseDeltas(tt.lost)
				b.enter(t, place{host, tt.lost}, "cid", presence.WatchNone)
				time.Sleep(timing.Default().Coalesce)
				synctest.Wait()
				a.port.Lose(nil)
				if tt.after != "" {
					b.enter(t, place{host, tt.after}, "dan", presence.WatchNone)
				}
				for _, channel := range []string{tt.lost, tt.after} {
					if channel == watched {
						want++
					}
				}
				time.Sleep(tt.within)
				view.shows(t, fmt.Sprint(want))
				time.Sleep(5 * timing.Default().Check)
				if got := checkedSince(a, began); len(got) != tt.checks {
					t.Errorf("%q were checked, want %d channels", got, tt.checks)
				}
				if got := a.Resyncs(); got != 0 != (tt.lost == watched) {
					t.Errorf("%d repairs were counted", got)
				}
			})
		})
	}
}

// An outsider repeats what everybody could record.
func TestRepeatedDeltasAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, room := new(clustertest.Lab), testPlace(t)
		a, b, e := start(t, n, "a"), start(t, n, "b"), n.Port(t)
		time.Sleep(3 * time.Second)
		view := a.enter(t, room, "ann", presence.WatchList)
		time.Sleep(time.Second)
		bob, err := b.reg.Connect(room.host, &presence.Rules{}, &presence.User{ID: "bob"}, new(clustertest.Mailbox))
		if err != nil {
			t.Fatal(err)
		}
		if err := bob.Join(room.channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		view.shows(t, "2")
		bob.Close()
		time.Sleep(time.Second)
		view.shows(t, "1")
		began := time.Now()
		for range 3 {
			for _, record := range n.Recorded() {
				if record.Subject == a.link.Channels(seedOf(room.host, presence.ChannelShardOf(room.channel))) {
					if err := e.Publish(record.Subject, record.Payload); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(gapWait)
			view.shows(t, "1")
		}
		if got := checkedSince(a, began); len(got) > 0 {
			t.Errorf("%q were checked", got)
		}
	})
}

func TestShardWithoutWatchersIsUnfollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, room := new(clustertest.Lab), testPlace(t)
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		b.enter(t, room, "bob", presence.WatchNone)
		conn, err := a.reg.Connect(room.host, &presence.Rules{}, &presence.User{ID: "ann"}, new(view))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Join(room.channel, presence.WatchList, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if sum, follows := b.ledger.sum(a.link.Self()); sum == 0 || follows != 1 {
			t.Errorf("the sum of %d followed shards is %d", follows, sum)
		}
		conn.Close()
		time.Sleep(timing.Default().Linger + time.Second)
		if sum, _ := b.ledger.sum(a.link.Self()); sum != 0 || followedShards(b) > 0 {
			t.Errorf("%d shards are followed, with the sum %d", followedShards(b), sum)
		}
		if got := len(sentSince[*message.Unfollow](a, time.Time{})); got != 1 {
			t.Errorf("%d messages", got)
		}
		time.Sleep(3 * timing.Default().Check)
		if got := len(sentSince[*message.HostSums](a, time.Time{})); got != 0 {
			t.Errorf("%d sums were opened", got)
		}
	})
}

// A pod that has taken another one for gone has forgotten that it follows.
func TestForgottenFollowerIsFoundByTheSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, room := new(clustertest.Lab), testPlace(t)
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		view := a.enter(t, room, "ann", presence.WatchList)
		time.Sleep(time.Second)
		b.ledger.remove(a.link.Self())
		b.ledger.add(a.link.Self())
		time.Sleep(timing.Default().Check)
		if sum, follows := b.ledger.sum(a.link.Self()); sum == 0 || follows != 1 {
			t.Errorf("the sum of %d followed shards is %d", follows, sum)
		}
		b.ledger.addFollower(a.link.Self(), testkit.MustHost(t, "unknown.example.com"), 1<<63|1)
		b.ledger.addFollower(a.link.Self(), room.host, ^message.ShardSet(0))
		time.Sleep(timing.Default().Check)
		if got := followedShards(b); got != 1 {
			t.Errorf("%d shards are followed", got)
		}
		began := time.Now()
		b.enter(t, room, "bob", presence.WatchNone)
		time.Sleep(5 * timing.Default().Check)
		view.shows(t, "2")
		if got := sentSince[*message.HostSums](a, began); len(got) > 0 {
			t.Errorf("%d sums are opened at rest", len(got))
		}
	})
}

// Lists of hosts come in parts, of which one can be lost.
func TestSumsOfHostsInParts(t *testing.T) {
	reg, p := presence.NewRegistry(counts{}).Pods(), link.Peer{Pod: "a"}
	l, clock := newLedger(reg), reg.LastClock()
	l.add(p)
	whole := &message.HostSums{Last: true}
	for i := range 10 {
		host := testkit.MustHost(t, fmt.Sprintf("host-%d.example.com", i))
		l.addFollower(p, host, 1|1<<uint(i+1))
		if i%2 == 0 { // half of the hosts are known, and one of them is wrong
			sum := mix(seedOf(host, 0), clock) + mix(seedOf(host, uint8(i+1)), clock)
			if i == 4 {
				sum++
			}
			whole.Hosts = append(whole.Hosts, message.HostSum{Host: host, Sum: sum})
		}
	}
	first := &message.HostSums{Hosts: whole.Hosts[:2]}
	second := &message.HostSums{After: whole.Hosts[1].Host.String(), Hosts: whole.Hosts[2:3]}
	third := &message.HostSums{After: whole.Hosts[2].Host.String(), Last: true, Hosts: whole.Hosts[3:]}
	for _, step := range []struct {
		m      *message.HostSums
		differ int
		left   int // followed shards
	}{{first, 0, 18}, {third, 0, 12}, {second, 1, 10}, {second, 1, 10}, {whole, 1, 10}} {
		got := l.compare(p, step.m)
		if len(got) != step.differ || step.differ > 0 && (got[0].Host != whole.Hosts[2].Host || len(got[0].Clocks) != 2) {
			t.Errorf("%+v differ, want %d", got, step.differ)
		}
		if len(l.shards) != step.left {
			t.Errorf("%d shards are followed, want %d", len(l.shards), step.left)
		}
	}
}

// News that overtake a sum are no difference, if they are not too many.
func TestNewsThatOvertakeASum(t *testing.T) {
	for _, n := range []int{1, len(pod{}.recent), len(pod{}.recent) + 1} {
		p := &pod{}
		p.count(news{clock: 10, diff: 5})
		want := p.sum
		for i := range uint64(n) {
			p.count(news{clock: 11 + i, diff: 7})
		}
		r := &Replicator{timing: timing.Default()}
		r.handleSum(time.Now(), p, &message.ShardSum{AsOf: 10, Follows: 2, Sum: want})
		if got := p.theirs.mine == want; got != (n <= len(p.recent)) {
			t.Errorf("after %d deltas: the sums are equal: %v", n, got)
		}
		mine := p.theirs.mine
		p.count(news{clock: 10, diff: 100})
		p.count(news{clock: 1, follows: 2, diff: 1000})
		p.count(news{clock: 1, follows: 3, diff: 10_000})
		if got := p.theirs.mine - mine; got != 1100 {
			t.Errorf("%d was added later, want 1100", got)
		}
	}
}

// A delta in the answer to a check is lost, and nothing comes after it.
func TestLostAnswerToACheckIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(clustertest.Lab), testPlace(t).host
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		same, _ := sameShard(3)
		for _, channel := range same {
			b.enter(t, place{host, channel}, "bob", presence.WatchNone)
		}
		time.Sleep(time.Second)
		lost := 0
		a.port.Lose(func(m message.Message) bool {
			d, ok := m.(*message.Delta)
			if ok = ok && d.Channel == same[1] && lost < 2; ok {
				lost++
			}
			return ok
		})
		views := make([]*view, len(same))
		for i, channel := range same {
			views[i] = a.enter(t, place{host, channel}, "ann", presence.WatchList)
		}
		time.Sleep(time.Second)
		for _, v := range views {
			v.shows(t, "2")
		}
		if lost != 2 {
			t.Errorf("%d deltas were lost", lost)
		}
	})
}

// An answer to a check arrives so late that the pod has nobody in the channel anymore, and has said
// so.
func TestLateAnswerToACheckIsCorrected(t *testing.T) {
	isAnswer := func(m message.Message) bool {
		d, ok := m.(*message.Delta)
		return ok && d.Step == 0 && len(d.Joined) == 1 && d.Joined[0].ID == "bob"
	}
	tests := []struct {
		name string
		// during makes the answer arrive before the end of a later check.
		during bool
	}{
		{"after the check", false},
		{"before the answer to a later check", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, room := new(clustertest.Lab), testPlace(t)
				a, b, network := start(t, n, "a"), start(t, n, "b"), n.Port(t)
				// last returns the last payload with such a message.
				last := func(is func(m message.Message) bool) (found clustertest.Record) {
					synctest.Wait()
					for _, r := range n.Recorded() {
						if _, m, err := message.NewCodec("").Decode(r.Subject, r.Payload); err == nil && is(m) {
							found = r
						}
					}
					return found
				}
				deliver := func(r clustertest.Record) {
					if err := network.Publish(r.Subject, r.Payload); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				watcher := func() (c *presence.Conn, v *view) {
					v = new(view)
					c, err := a.reg.Connect(room.host, &presence.Rules{}, &presence.User{ID: "ann"}, v)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(c.Close)
					if err := c.Join(room.channel, presence.WatchList, ""); err != nil {
						t.Fatal(err)
					}
					return c, v
				}
				time.Sleep(3 * time.Second)
				bob, err := b.reg.Connect(room.host, &presence.Rules{}, &presence.User{ID: "bob"}, new(view))
				if err != nil {
					t.Fatal(err)
				}
				if err := bob.Join(room.channel, presence.WatchNone, ""); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				a.port.Lose(func(m message.Message) bool { return isAnswer(m) || isDone(m) })
				ann, seen := watcher()
				time.Sleep(timing.Default().Coalesce)
				answer := last(isAnswer)
				bob.Close()
				time.Sleep(timing.Default().Coalesce)
				a.port.Lose(nil)
				time.Sleep(time.Second)
				seen.shows(t, "1")
				if tt.during {
					ann.Close()
					time.Sleep(time.Second)
					a.port.Lose(isDone)
					_, seen = watcher()
					time.Sleep(timing.Default().Coalesce)
					a.port.Lose(nil)
					done := last(isDone)
					deliver(answer)
					deliver(done)
				} else {
					deliver(answer)
				}
				time.Sleep(timing.Default().Check)
				seen.shows(t, "1")
			})
		})
	}
}

// A pod with wrong sums, or one that repeats them, is asked once for each sum that is compared.
func TestManyWrongSumsAreFewQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, room := new(clustertest.Lab), testPlace(t)
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		view := a.enter(t, room, "ann", presence.WatchList)
		time.Sleep(time.Second)
		began := time.Now()
		const seconds = 5
		for i := range uint64(100 * seconds) {
			b.link.Send(b.link.Inbox(a.link.Self()), &message.ShardSum{AsOf: b.reg.Pods().LastClock(), Follows: i % 3, Sum: i})
			time.Sleep(10 * time.Millisecond)
		}
		if got, most := len(sentSince[*message.HostSums](a, began)), 2*seconds+2; got > most {
			t.Errorf("%d questions about 500 wrong sums, want at most %d", got, most)
		}
		b.enter(t, room, "bob", presence.WatchNone)
		time.Sleep(2 * timing.Default().Check)
		view.shows(t, "2")
	})
}

// followedShards returns the number of a pod's shards that others follow.
func followedShards(p *testPod) int {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return len(p.ledger.shards)
}
