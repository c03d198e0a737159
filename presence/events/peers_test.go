package events

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// others are the other pods of a test, as the Speaker sees them.
type others struct {
	mu       sync.Mutex
	settled  bool
	missing  bool
	speakers []string
	sources  []string
	asked    map[uint8]uint64 // ID of the last question about each shard, to one pod
	dropped  int
	reviewed int // number of calls of Speakers
}

func (o *others) Clock() uint64                                 { return uint64(time.Now().UnixMilli()) }
func (o *others) Self() string                                  { return "dc/self/1" }
func (o *others) Spread(presence.HostName, []assignment.Record) {}

func (o *others) Settled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.settled
}

func (o *others) Misses() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.missing
}

func (o *others) Speakers(presence.HostName) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reviewed++
	return slices.Clone(o.speakers)
}

func (o *others) Sources(presence.HostName) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.sources)
}

func (o *others) Ask(_ string, id uint64, _ presence.HostName, shard uint8, _ bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked[shard] = id
}

func (o *others) Drop(string, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropped++
}

func (o *others) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *others) id(shard uint8) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[shard]
}

const otherPod = "dc/other/1"

// pairStage returns a Speaker with another pod, which has no events of its own.
func pairStage(t *testing.T) (*stage, *others) {
	s := newStage(t)
	s.wanted.Users = false
	o := &others{settled: true, sources: []string{otherPod}, asked: make(map[uint8]uint64)}
	s.epochs[0] = 1
	s.SetPeers(o)
	s.Refresh()
	s.settle()
	return s, o
}

// room is the part of another pod with users in one channel.
func room(whole bool, users ...string) *presence.TapPart {
	c := presence.TapChange{Channel: "room", Class: presence.Class{Kind: presence.Authenticated}, Conns: len(users), Full: whole}
	for _, u := range users {
		c.Came = append(c.Came, presence.Member{User: presence.User{ID: u}})
	}
	return &presence.TapPart{First: whole, Whole: whole, Changes: []presence.TapChange{c}}
}

func TestEpochWaitsForThePartsOfOtherPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		shard := ShardOf("room")
		s.connect("ada", "room")
		s.expect("before the other pod has answered")
		if !s.Merge(otherPod, o.id(shard), room(true, "bob")) || s.Merge("dc/third/1", o.id(shard), room(true)) || s.Merge(otherPod, 999, room(true)) {
			t.Error("the answer is not expected, or a wrong one is")
		}
		s.settle()
		if got := texts(s.take(), int(shard)); len(got) != 2 || got[1] != "epoch.complete  0" || len(got[0]) != len("channel.state room 2 ada,bob") {
			t.Errorf("got %q", got)
		}
		time.Sleep(gatherTime)
		s.settle()
		if got := s.take(); len(got) != Shards-1 {
			t.Errorf("after the time of other shards: %q", texts(got, -1))
		}
		s.Merge(otherPod, o.id(shard), room(false, "cid"))
		s.expect("a change", "member.joined room 3 cid")
		s.Merge(otherPod, o.id(shard), room(true, "bob"))
		time.Sleep(2 * time.Second)
		s.expect("a whole part that lacks a user", "member.left room 2 cid")
	})
}

// Another pod can send both states in one message.
func TestUserWhoLeavesAnotherPodAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		shard := ShardOf("room")
		s.connect("ada")
		s.Merge(otherPod, o.id(shard), room(true))
		time.Sleep(gatherTime)
		s.settle()
		s.take()
		left := &presence.TapPart{Changes: []presence.TapChange{{Channel: "room", Left: []presence.Departure{{ID: "bob"}}}}}
		for range 2 {
			s.Merge(otherPod, o.id(shard), room(false, "bob"))
			s.Merge(otherPod, o.id(shard), left)
			s.expect("came and left", "channel.occupied room 1", "member.joined room 1 bob", "member.left room 0 bob", "channel.vacated room 0")
		}
	})
}

func TestUserOfTwoPodsLeavesWithTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		shard := ShardOf("room")
		c := s.connect("ada", "room")
		s.Merge(otherPod, o.id(shard), room(true, "ada", "bob"))
		time.Sleep(gatherTime)
		s.settle()
		s.take()
		_ = c.Leave("room", "")
		s.expect("left one of two pods")
		o.change(func() { o.sources = nil })
		s.PodDown(otherPod)
		s.expect("the other pod is lost")
		time.Sleep(time.Second)
		c = s.connect("ada", "room")
		time.Sleep(time.Second)
		s.expect("after the grace of the one who is not back", "member.left room 1 bob")
		_ = c.Leave("room", "")
		s.expect("the last one left", "member.left room 0 ada", "channel.vacated room 0")
	})
}

func TestOwnerBeginsAnotherEpochAfterAGreaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		shard := ShardOf("room")
		s.connect("ada", "room")
		for i := range uint8(Shards) {
			s.Merge(otherPod, o.id(i), &presence.TapPart{First: true, Whole: true})
		}
		s.settle()
		s.take()
		time.Sleep(calmAfter)
		own := s.Epochs(s.host)[shard]
		s.OnEpoch(s.host, shard, own-1, false)
		s.expect("a lower epoch")
		for _, epoch := range []uint64{own, own + 100_000} {
			s.change(func() { s.epochs[shard] = epoch })
			s.OnEpoch(s.host, shard, epoch, epoch == own)
			s.settle()
			s.Merge(otherPod, o.id(shard), &presence.TapPart{First: true, Whole: true})
			s.settle()
			got := s.take()
			if len(got) != 2 || got[0].Type != ChannelState || got[1].Type != EpochComplete || got[1].Epoch <= epoch {
				t.Errorf("after epoch %d: %+v", epoch, got)
			}
			time.Sleep(calmAfter)
		}
	})
}

func TestOnlyTheOwnerSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		o.change(func() { o.settled, o.sources = false, nil })
		s.connect("ada", "room")
		time.Sleep(gatherTime)
		s.settle()
		s.take()
		all := []string{o.Self()}
		for i := range 20 { // until another pod owns the shard
			all = append(all, "dc/other/"+string(rune('a'+i)))
		}
		shard := ShardOf("room")
		if OwnerOf(s.host, shard, all) == o.Self() {
			t.Fatal("the owner among 21 pods is this one: add pods")
		}
		o.change(func() { o.speakers = all[1:] })
		s.PodsChanged()
		s.settle()
		s.connect("bob", "room")
		s.expect("of another owner")
		o.change(func() { o.speakers = nil })
		s.PodsChanged()
		time.Sleep(mostPause)
		s.expect("while it is not known which pods are alive")
		o.change(func() { o.settled = true })
		s.PodsChanged()
		time.Sleep(mostPause)
		s.settle()
		if got := texts(s.take(), int(shard)); len(got) != 2 {
			t.Errorf("got %q", got)
		}
	})
}

// A pod that is cut off may speak in a greater epoch and end before others learn of it.
func TestMissingPodsBeginEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		o.change(func() { o.sources = nil })
		s.PodDown(otherPod)
		time.Sleep(calmAfter)
		s.settle()
		s.take()
		o.change(func() { o.missing = true })
		s.PodsChanged()
		epochs := func() (n int) {
			for _, e := range s.take() {
				if e.Shard == 0 && e.Type == EpochComplete {
					n++
				}
			}
			return n
		}
		time.Sleep(leastRenewal + missingEvery + mostPause)
		if got := epochs(); got != 1 {
			t.Errorf("%d epochs at first", got)
		}
		time.Sleep(time.Hour - leastRenewal)
		if got := epochs(); got < 4 || got > 9 {
			t.Errorf("%d epochs in an hour", got)
		}
		o.change(func() { o.missing = false })
		time.Sleep(2*missingEvery + lastRenewal + mostPause)
		if got := epochs(); got != 1 {
			t.Errorf("%d epochs when it is no longer missing", got)
		}
		time.Sleep(time.Hour)
		if got := epochs(); got != 0 {
			t.Errorf("%d epochs afterwards", got)
		}
	})
}

// A pod that heard nothing for a while cannot know which pods have spoken meanwhile, and ended.
func TestUnheardPodsBeginEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pairStage(t)
		time.Sleep(calmAfter)
		s.settle()
		s.take()
		epochs := func() (n int) {
			for _, e := range s.take() {
				if e.Shard == 0 && e.Type == EpochComplete {
					n++
				}
			}
			return n
		}
		s.PodsUnheard()
		time.Sleep(lastRenewal / 2)
		s.PodsUnheard()
		time.Sleep(lastRenewal - time.Second)
		if got := epochs(); got != 0 {
			t.Errorf("%d epochs at once", got)
		}
		time.Sleep(time.Hour)
		if got := epochs(); got != 1 {
			t.Errorf("%d epochs in an hour", got)
		}
	})
}

// Anybody can open hosts of a wildcard, so a new host costs the same however many there are.
func TestNewHostIsReviewedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := pairStage(t)
		open := func(name string) (reviews int) {
			host, err := presence.ParseHostName(name)
			if err != nil {
				t.Fatal(err)
			}
			o.change(func() { o.reviewed = 0 })
			s.Opened([]presence.HostName{host})
			s.settle()
			s.take()
			o.change(func() { reviews = o.reviewed })
			return reviews
		}
		for i := range 100 {
			open(fmt.Sprint("h", i, ".example.com"))
		}
		if got := open("last.example.com"); got != 1 {
			t.Errorf("%d hosts are reviewed", got)
		}
		time.Sleep(gatherTime)
		s.settle()
		if got := len(s.take()); got != 102*Shards {
			t.Errorf("%d events, want one for each shard", got)
		}

		o.change(func() { o.missing = true })
		open("missing.example.com")
		time.Sleep(gatherTime)
		s.settle()
		s.take()
		time.Sleep(leastRenewal + gatherTime)
		s.settle()
		if !slices.ContainsFunc(s.take(), func(e Event) bool { return e.Host.String() == "missing.example.com" }) {
			t.Error("no epochs begin for a host that was opened while a pod was missing")
		}
	})
}
