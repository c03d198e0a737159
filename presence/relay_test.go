package presence

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRelayIsNotifiedOfWatchers(t *testing.T) {
	w, relay := newRelayed(t, &Rules{})
	a, b := w.connect("a"), w.connect("b")
	a.join("room", WatchNone)
	relay.wants(t, "changed room")
	a.join("room", WatchCount)
	relay.wants(t, "watched room")
	b.join("room", WatchList)
	a.join("room", WatchList) // joins again
	a.leave("room")
	relay.wants(t)
	b.join("room", WatchCount) // joins again, as the last one
	relay.wants(t)
	b.join("room", WatchNone)
	relay.wants(t, "unwatched room")
	b.join("room", WatchList)
	b.leave("room")
	relay.wants(t, "watched room", "unwatched room")
	b.join("room", WatchList)
	b.Close()
	relay.wants(t, "watched room", "unwatched room")
	a.join("room", WatchList)
	w.host().SetRules(rulesOf(classes{"room": {Denied: true}, "anonymous": {Kind: Anonymous}}))
	relay.wants(t, "watched room", "unwatched room")
	a.join("anonymous", WatchNone)
	w.connect("").join("anonymous", WatchNone)
	relay.wants(t, "changed anonymous")
}

func TestFirstWatchersWaitForOtherPods(t *testing.T) {
	w, _ := newRelayed(t, &Rules{})
	a, b, c := w.connect("a"), w.connect("b"), w.connect("c")
	a.join("room", WatchList)
	b.join("room", WatchNone)
	c.join("room", WatchCount)
	w.merge("p", whole(5, 2, "b", "d"), Merged)
	a.hears()
	b.hears("joined room authenticated")
	w.reg.Pods().Ready(w.name, "room")
	a.hears("joined room authenticated seq=0 count=4 [a b c d]")
	c.hears("joined room authenticated seq=0 count=4")
	w.reg.Pods().Ready(w.name, "room")
	w.reg.Pods().Ready(w.name, "other")
	w.reg.Pods().Ready(HostName{}, "room")
	d := w.connect("d")
	d.join("room", WatchList)
	d.hears("joined room authenticated seq=0 count=4 [a b c d]") // no join waits
	w.merge("p", whole(6, 0).after(5, "b", "d"), Merged)
	a.hears()
	d.leave("room")
	a.hears("presence room seq=1 count=3 -d")
}

func TestJoinersThatWaitForPodsAreAnsweredInOrder(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world, c *client)
		want []string
	}{
		{"leave", func(_ *world, c *client) { c.leave("room") }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "left room",
		}},
		{"join again", func(_ *world, c *client) { _ = c.Join("room", WatchCount, "2") }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "joined room#2 authenticated seq=0 count=2",
		}},
		{"watch no longer", func(_ *world, c *client) { _ = c.Join("room", WatchNone, "2") }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "joined room#2 authenticated",
		}},
		{"close", func(_ *world, c *client) { c.Close() }, nil},
		{"another class", func(w *world, _ *client) { w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous}})) }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "presence room seq=1 count=1 kind=anonymous -c", "presence room seq=2 count=2",
		}},
		{"denied", func(w *world, _ *client) { w.host().SetRules(rulesOf(classes{"room": {Denied: true}})) }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "left room (denied)",
		}},
		{"relay removed", func(w *world, _ *client) { w.reg.Pods().SetRelay(nil) }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]",
		}},
		{"another relay", func(w *world, _ *client) { w.reg.Pods().SetRelay(new(notes)) }, []string{
			"joined room#1 authenticated seq=0 count=1 [c]", "presence room seq=1 count=2 +a",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := newRelayed(t, &Rules{})
			c := w.connect("c")
			if err := c.Join("room", WatchList, "1"); err != nil {
				t.Fatal(err)
			}
			tt.do(w, c)
			w.reg.Pods().MergeDelta(w.name, "room", "p", whole(5, 1, "a")) // if it is watched
			w.reg.Pods().Ready(w.name, "room")
			c.hears(tt.want...)
		})
	}
}

func TestRelayThatIsSetLaterIsNotifiedOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		a, b := w.connect("a"), w.connect("b")
		a.join("room", WatchList)
		forget(a)
		first, second := new(notes), new(notes)
		w.reg.Pods().SetRelay(first)
		first.wants(t, "changed room", "watched room")
		b.join("room", WatchList)
		b.hears("joined room authenticated seq=1 count=2 [a b]") // no join waits, because there are watchers
		w.merge("p", whole(5, 1, "c"), Merged)
		a.hears("presence room seq=1 count=2 +b", "presence room seq=2 count=3 +c")

		w.reg.Pods().SetRelay(second)
		first.wants(t)
		second.wants(t, "changed room", "watched room")
		a.hears("presence room seq=3 count=2 -c")
		if got := w.changes(); got != "full +a +b conns=2" {
			t.Errorf("changes %q", got)
		}
		b.Close()
		second.wants(t, "changed room")
		w.reg.Pods().SetRelay(nil)
		if got := w.changes(); got != "" {
			t.Errorf("changes %q without a relay", got)
		}
		a.Close()
		second.wants(t)
		if len(w.reg.lastChanges.list) > 0 {
			t.Error("last changes are kept without a relay")
		}
	})
}

func TestReplacedRelayKeepsWhatOtherPodsHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first := newRelayed(t, &Rules{Grace: time.Second})
		a, c := w.connect("a"), w.connect("c")
		a.join("room", WatchList)
		w.merge("p", whole(5, 1, "b"), Merged)
		w.merge("q", whole(7, 1, "d"), Merged)
		w.connect("z").join("hall", WatchNone)
		w.find("z").Close()
		c.join("empty", WatchList)
		forget(a)
		forget(c)
		first.wants(t, "changed room", "watched room", "changed hall", "changed empty", "watched empty")

		second := new(notes)
		if !w.reg.Pods().ReplaceRelay(second) {
			t.Error("there was no relay")
		}
		second.lines = slices.Sorted(slices.Values(second.lines))
		second.wants(t, "changed empty", "changed hall", "changed room", "watched empty", "watched room")
		if got := w.changes(); got != "full +a conns=1" {
			t.Errorf("changes %q", got)
		}
		w.reg.Pods().Ready(w.name, "room")
		a.hears("joined room authenticated seq=0 count=3 [a b d]")
		if got := w.reg.Pods().Clock(w.name, "room", "p"); got != 5 {
			t.Errorf("clock %d", got)
		}
		w.merge("p", whole(6, 1).after(5, "b"), Merged)
		time.Sleep(maxFlushWait)
		a.hears("presence room seq=1 count=2 -b")
		if names := slices.Sorted(slices.Values(w.reg.Pods().Names())); !slices.Equal(names, []string{"p", "q"}) {
			t.Errorf("parts of %q", names)
		}
		w.reg.Pods().Forget("q")
		time.Sleep(maxFlushWait)
		a.hears()
		time.Sleep(time.Second)
		a.hears("presence room seq=2 count=1 -d")
		c.leave("empty")
		second.wants(t, "unwatched empty")
		first.wants(t)

		w.reg.Pods().RemoveRelay(first) // was replaced
		a.leave("room")
		second.wants(t, "unwatched room", "changed room")
		w.reg.Pods().RemoveRelay(second)
		w.connect("e").join("room", WatchList)
		second.wants(t)
		if w.reg.Pods().ReplaceRelay(first) {
			t.Error("there was a relay")
		}
	})
}

func TestLastChangesAreForgottenWithTheRelay(t *testing.T) {
	w, _ := newRelayed(t, &Rules{})
	w.connect("a").join("room", WatchNone)
	w.find("a").Close()
	w.reg.Pods().SetRelay(new(notes))
	if got := w.changes(); got != "" {
		t.Errorf("changes %q", got)
	}
}

// eager is a Relay that calls Changes on another goroutine as soon as Changed was called.
type eager struct {
	mute
	reg    *Registry
	mu     sync.Mutex
	wg     sync.WaitGroup
	deltas map[string][]Delta
}

func (e *eager) Changed(host HostName, channel string) {
	e.wg.Go(func() {
		e.mu.Lock() // keeps deltas in the order of their clocks
		defer e.mu.Unlock()
		if d, ok := e.reg.Pods().Changes(host, channel); ok {
			e.deltas[channel] = append(e.deltas[channel], d)
		}
	})
}

func (e *eager) Watched(host HostName, channel string) {
	e.wg.Go(func() { e.reg.Pods().Ready(host, channel) })
}

func (e *eager) Unwatched(HostName, string) {}

// While hosts come and go, no change is lost, and each delta follows the one before.
func TestChangesWhileHostsComeAndGo(t *testing.T) {
	w := newWorld(t, &Rules{Grace: time.Millisecond})
	e := &eager{reg: w.reg, deltas: make(map[string][]Delta)}
	w.reg.Pods().SetRelay(e)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			user := &User{ID: fmt.Sprint("user", i)}
			for n := range 500 {
				c, err := w.reg.Connect(w.name, w.rules, user, &inbox{tape: w.tape})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Join("room", Watch(n%3), ""); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	wg.Go(func() {
		for n := range uint64(300) {
			w.reg.Pods().MergeDelta(w.name, "room", "p", whole(n+1, 1, "a"))
			w.reg.Pods().State(w.name, "room")
			if n%10 == 0 {
				w.reg.Pods().Forget("p")
			}
		}
	})
	wg.Wait()
	e.wg.Wait()
	known, clock := make(map[string]bool), uint64(0)
	for _, d := range e.deltas["room"] {
		if d.Clock <= clock || d.Base != 0 && d.Base != clock {
			t.Fatalf("clock %d and base %d after %d", d.Clock, d.Base, clock)
		}
		if clock = d.Clock; d.Base == 0 {
			clear(known)
		}
		for _, m := range d.Joined {
			known[m.ID] = true
		}
		for _, gone := range d.Left {
			delete(known, gone.ID)
		}
	}
	if len(known) > 0 || len(w.reg.lastChanges.list) > 0 {
		t.Errorf("%v are left, and last changes of %d channels", known, len(w.reg.lastChanges.list))
	}
}

func TestRelayComesAndGoesAmongConnections(t *testing.T) {
	w := newWorld(t, &Rules{Grace: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for range 300 {
				c, err := w.reg.Connect(w.name, w.rules, &User{ID: fmt.Sprint("user", i)}, &inbox{tape: w.tape})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Join("room", WatchList, ""); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				c.Close()
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			w.reg.Pods().SetRelay(&watchCount{t: t})
			if i%2 == 0 {
				w.reg.Pods().SetRelay(nil)
			}
		}
	})
	wg.Wait()
	w.reg.Pods().SetRelay(nil)
	if hosts := w.reg.Hosts(); len(hosts) > 0 || len(w.reg.lastChanges.list) > 0 {
		t.Errorf("%d hosts and %d last changes are left", len(hosts), len(w.reg.lastChanges.list))
	}
}

// watchCount is a Relay that counts the watched channels: at most one at a time.
type watchCount struct {
	mute
	t       *testing.T
	mu      sync.Mutex
	watched int
}

func (c *watchCount) Changed(HostName, string)   {}
func (c *watchCount) Watched(HostName, string)   { c.count(1) }
func (c *watchCount) Unwatched(HostName, string) { c.count(-1) }

func (c *watchCount) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched += n; c.watched < 0 || c.watched > 1 {
		c.t.Errorf("watched %d times at once", c.watched)
	}
}
