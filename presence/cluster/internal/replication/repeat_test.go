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

func isCheck(m message.Message) bool {
	_, ok := m.(*message.Check)
	return ok
}

func isDone(m message.Message) bool {
	_, ok := m.(*message.CheckDone)
	return ok
}

// sentSince returns the messages of one type that the pod has sent since then.
func sentSince[M message.Message](p *testPod, then time.Time) (list []M) {
	synctest.Wait()
	for _, s := range clustertest.SentOf[M](p.port) {
		if !s.At.Before(then) {
			list = append(list, s.Message.(M))
		}
	}
	return list
}

// A pod that ignores checks gets a bounded number of repetitions in each Timing.Repeat. When it
// answers them, all others follow at once.
func TestRepeatedChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, repeat := new(clustertest.Lab), timing.Default().Repeat
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		rooms := make([]place, 5000)
		for i := range rooms {
			rooms[i] = place{testkit.MustHost(t, fmt.Sprintf("host-%d.example.com", i)), "room"}
			b.enter(t, rooms[i], "bob", presence.WatchNone)
		}
		time.Sleep(time.Second)
		b.port.Lose(isCheck)
		began, views := time.Now(), make([]*view, len(rooms))
		for i, room := range rooms {
			views[i] = a.enter(t, room, "ann", presence.WatchList)
		}
		most := maxRepeats/memorySize(&message.Check{}) + 1
		for i := 1; i <= 3; i++ {
			time.Sleep(time.Until(began.Add(time.Duration(i)*repeat + repeat/2)))
			repeated := 0
			for _, c := range sentSince[*message.Check](a, time.Now().Add(-repeat)) {
				if c.ID <= uint64(len(rooms)) { // later ones replace checks that have timed out
					repeated++
				}
			}
			if repeated == 0 || repeated > most {
				t.Errorf("%d checks were repeated within %v, want at most %d", repeated, repeat, most)
			}
		}
		views[0].shows(t, "1")
		b.port.Lose(nil)
		time.Sleep(2 * time.Second)
		for _, v := range views {
			v.shows(t, "2")
		}
	})
}

// A pod whose answer was lost is asked for nothing that has arrived. The answer to the repetition
// does not list what arrived before, so another check makes sure that it was not late.
func TestRepeatedCheckAsksForWhatIsStillUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, room := new(clustertest.Lab), testPlace(t)
		a, b := start(t, n, "a"), start(t, n, "b")
		time.Sleep(3 * time.Second)
		b.enter(t, room, "bob", presence.WatchNone)
		time.Sleep(time.Second)
		a.port.Lose(isDone)
		began := time.Now()
		view := a.enter(t, room, "ann", presence.WatchList)
		time.Sleep(100 * time.Millisecond)
		a.port.Lose(nil)
		view.shows(t, "")
		time.Sleep(300 * time.Millisecond)
		view.shows(t, "2")
		time.Sleep(time.Second)
		checks := sentSince[*message.Check](a, began)
		if len(checks) != 3 || checks[0].ID != checks[1].ID || checks[0].Channels[0].Clock != 0 || checks[1].Channels[0].Clock == 0 ||
			checks[2].ID == checks[1].ID || checks[2].Channels[0].Clock == 0 {
			t.Errorf("checks: %+v", checks)
		}
		if got := len(sentSince[*message.Delta](b, began)); got != 1 {
			t.Errorf("the part was sent %d times", got)
		}
		if a.Resyncs() != 0 {
			t.Errorf("%d repairs of what was not broken", a.Resyncs())
		}
	})
}

// Clocks are longer in the repetition than in the first check, which knew none.
func TestRepeatedCheckThatNoLongerFitsIsSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, host := new(clustertest.Lab), testkit.MustHost(t, "example.com")
		a, b := start(t, n, "a"), start(t, n, "b")
		rooms := make([]place, 521) // names of 1,001 bytes: they fill a payload
		for i := range rooms {
			rooms[i] = place{host, fmt.Sprintf("%01001d", i)}
			b.enter(t, rooms[i], "bob", presence.WatchNone)
		}
		time.Sleep(3 * time.Second)
		whole, done := false, false
		b.port.Lose(func(m message.Message) bool { // until they have timed out
			c, ok := m.(*message.Check)
			whole = whole || ok && len(c.Channels) == len(rooms)
			return ok && !whole
		})
		a.port.Lose(func(m message.Message) bool { // the end of the answer to it
			first := isDone(m) && !done
			done = done || first
			return first
		})
		views := make([]*view, len(rooms))
		for i, room := range rooms {
			views[i] = a.enter(t, room, "ann", presence.WatchList)
		}
		time.Sleep(timing.Default().Check + time.Second)
		for _, v := range views {
			v.shows(t, "2")
		}
		var checks []*message.Check // from the one on that replaces them
		for _, c := range sentSince[*message.Check](a, time.Time{}) {
			if len(checks) > 0 || len(c.Channels) == len(rooms) {
				checks = append(checks, c)
			}
		}
		if len(checks) < 3 || checks[1].ID == checks[0].ID || checks[2].ID == checks[1].ID ||
			len(checks[1].Channels)+len(checks[2].Channels) != len(rooms) {
			t.Errorf("%d checks are not the whole one and its two parts", len(checks))
		}
		if got := a.link.Unsent(); got != 0 {
			t.Errorf("%d payloads could not be sent", got)
		}
	})
}

func TestCheckIsAnsweredOnceAtATime(t *testing.T) {
	a := &answers{checks: make(chan asked, 2)}
	from, c := link.Peer{Pod: "a"}, &message.Check{ID: 1}
	for range 3 {
		a.ask(from, c)
	}
	a.ask(link.Peer{Pod: "b"}, c)
	if got := len(a.checks); got != 2 {
		t.Fatalf("%d checks wait, want one of each pod", got)
	}
	a.ask(from, &message.Check{ID: 2}) // there is no room for it
	a.end(<-a.checks)
	a.ask(from, c)
	a.end(<-a.checks)
	a.ask(from, &message.Check{ID: 2})
	if got := len(a.checks); got != 2 {
		t.Errorf("%d checks wait, want 2", got)
	}
	for range 2 {
		a.end(<-a.checks)
	}
	a.open.Range(func(key, _ any) bool {
		t.Errorf("%v is kept", key)
		return true
	})
	if got := a.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are kept", got)
	}
}
