package presence

import (
	"testing"
	"testing/synctest"
	"time"
)

const testGrace = 3 * time.Second

// graced returns a room with a grace period and a watcher w.
func graced(t *testing.T, class Class) (*world, *client) {
	w := newWorld(t, &Rules{Classifier: classes{"room": class}, Grace: testGrace})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	return w, watcher
}

// pass waits for d, and for what happens then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestGraceHidesShortAbsences(t *testing.T) {
	rejoin := func(w *world, user string) *client {
		c := w.connect(user)
		c.join("room", WatchNone)
		return c
	}
	tests := []struct {
		name string
		do   func(w *world, a *client) // a is in the room
		want []string                  // frames that the watcher receives within the grace period
		last []string                  // frames after it
	}{
		{"lost", func(_ *world, a *client) { a.Close() }, nil, []string{"presence room -a<a@x>"}},
		{"left", func(_ *world, a *client) { a.leave("room") }, []string{"presence room -a<a@x>"}, nil},
		{"another user", func(_ *world, a *client) { a.authenticate("b") }, []string{"presence room +b -a<a@x>"}, nil},
		{"back", func(w *world, a *client) { a.Close(); pass(testGrace / 2); rejoin(w, "a<a@x>") }, nil, nil},
		{"back, and lost again", func(w *world, a *client) {
			a.Close()
			pass(testGrace / 2)
			rejoin(w, "a<a@x>").Close()
		}, nil, []string{"presence room -a<a@x>"}},
		{"back with another e-mail", func(w *world, a *client) { a.Close(); rejoin(w, "a<new@x>") }, []string{"presence room ~a<new@x>"}, nil},
		{"back without an e-mail", func(w *world, a *client) { a.Close(); rejoin(w, "a") }, []string{"presence room ~a"}, nil},
		{"back on the host only", func(w *world, a *client) { a.Close(); w.connect("a<new@x>") }, nil, []string{"presence room -a<a@x>"}},
		{"back, and left", func(w *world, a *client) { a.Close(); rejoin(w, "a<a@x>").leave("room") }, []string{"presence room -a<a@x>"}, nil},
		{"one of two connections lost", func(w *world, a *client) { rejoin(w, "a"); a.Close() }, nil, nil},
		{"one lost, then the other left", func(w *world, a *client) {
			c := rejoin(w, "a")
			a.Close()
			c.leave("room")
		}, []string{"presence room -a<a@x>"}, nil},
		{"lost without a grace period", func(w *world, a *client) {
			w.host().SetRules(rulesOf(classes{}))
			a.Close()
		}, []string{"presence room -a<a@x>"}, nil},
		{"lost before the grace was shorter", func(w *world, a *client) {
			a.Close()
			w.host().SetRules(rulesOf(classes{}))
		}, nil, []string{"presence room -a<a@x>"}},
		{"denied", func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Classifier: classes{"room": {Denied: true}}, Grace: testGrace})
		}, []string{"left room (denied)"}, nil},
		{"lost, and the channel becomes anonymous", func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Anonymous}}, Grace: testGrace})
		}, []string{"presence room kind=anonymous -a<a@x> -w"}, nil},
		{"lost, and names are no longer shown", func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Authenticated, CountOnly: true}}, Grace: testGrace})
		}, []string{"presence room -a<a@x> -w"}, []string{"presence room"}},
		{"the host is removed", func(w *world, a *client) { w.host().Retire(); a.Close() }, []string{"presence room -a<a@x>"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher := graced(t, Class{Kind: Authenticated})
				a := w.connect("a<a@x>")
				a.join("room", WatchNone)
				forget(watcher)
				tt.do(w, a)
				pass(testGrace - 1)
				wantLines(t, diffTexts(watcher), tt.want...)
				pass(1 + testGrace)
				wantLines(t, diffTexts(watcher), tt.last...)
			})
		})
	}
}

// A listing shows the present connections, and later diffs change a snapshot.
func TestGraceIsInFramesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Authenticated})
		a := w.connect("a<a@x>")
		a.join("room", WatchNone)
		a.Close()
		wantLines(t, w.channels(PerUser), "room [w]")
		second := w.connect("v")
		second.join("room", WatchList)
		second.hears("joined room authenticated seq=2 count=3 [a<a@x> v w]")
		if users, stats := w.host().Users(PerUser); len(users) != 2 || stats.Users != 2 {
			t.Errorf("users %v, %+v", users, stats)
		}
		forget(watcher)
		pass(testGrace)
		watcher.hears("presence room seq=3 count=2 -a<a@x>")
		second.hears("presence room seq=3 count=2 -a<a@x>")
	})
}

func TestGraceOfCounts(t *testing.T) {
	tests := []struct {
		name  string
		class Class
		do    func(w *world, a *client)
		want  []string
		last  []string
	}{
		{"connection lost", Class{Kind: Anonymous}, func(_ *world, a *client) { a.Close() }, nil, []string{"presence room seq=2 count=1"}},
		{"connection left", Class{Kind: Anonymous}, func(_ *world, a *client) { a.leave("room") }, []string{"presence room seq=2 count=1"}, nil},
		{"another came for it", Class{Kind: Anonymous}, func(w *world, a *client) {
			a.Close()
			w.connect("").join("room", WatchNone)
		}, nil, nil},
		{"two came for it", Class{Kind: Anonymous}, func(w *world, a *client) {
			a.Close()
			w.connect("").join("room", WatchNone)
			w.connect("").join("room", WatchNone)
		}, []string{"presence room seq=2 count=3"}, nil},
		{"lost, and the channel becomes authenticated", Class{Kind: Anonymous}, func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Grace: testGrace})
		}, []string{"presence room seq=2 count=1 kind=authenticated +w"}, nil},
		{"lost, and the channel becomes authenticated and back", Class{Kind: Anonymous}, func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Grace: testGrace})
			w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Anonymous}}, Grace: testGrace})
		}, []string{"presence room seq=2 count=1 kind=authenticated +w", "presence room seq=3 count=1 kind=anonymous -w"}, nil},
		{"user lost", Class{Kind: Authenticated, CountOnly: true}, func(_ *world, a *client) { a.Close() }, nil, []string{"presence room seq=2 count=1"}},
		{"user back", Class{Kind: Authenticated, CountOnly: true}, func(w *world, a *client) {
			a.Close()
			w.connect("a").join("room", WatchNone)
		}, nil, nil},
		{"user lost, and names are shown now", Class{Kind: Authenticated, CountOnly: true}, func(w *world, a *client) {
			a.Close()
			w.host().SetRules(&Rules{Grace: testGrace})
		}, []string{"presence room seq=2 count=2 +a +w"}, []string{"presence room seq=3 count=1 -a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher := graced(t, tt.class)
				a := w.connect("a")
				a.join("room", WatchNone)
				forget(watcher)
				tt.do(w, a)
				pass(testGrace - 1)
				watcher.hears(tt.want...)
				pass(1 + testGrace)
				watcher.hears(tt.last...)
			})
		})
	}
}

// Each lost connection counts for its own grace period, to within lossWindow.
func TestGraceOfCountsEndsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Anonymous})
		clients := make([]*client, 5)
		for i := range clients {
			clients[i] = w.connect("")
			clients[i].join("room", WatchNone)
		}
		forget(watcher)
		clients[0].Close()
		clients[1].Close()
		pass(time.Second)
		clients[2].Close()
		w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Anonymous}}, Grace: time.Second})
		pass(time.Second / 2)
		clients[3].Close()                    // ends first
		w.connect("").join("room", WatchNone) // replaces the first
		watcher.hears()
		pass(time.Second)
		watcher.hears("presence room seq=6 count=5")
		pass(time.Second / 2)
		watcher.hears("presence room seq=7 count=4")
		pass(time.Second)
		watcher.hears("presence room seq=8 count=3")
		pass(10 * time.Second)
		watcher.hears()
		if l := w.host().channels["room"].overlay.losses; l != nil && (l.conns != 0 || len(l.batches) > 0) {
			t.Errorf("%d connections in %v are left", l.conns, l.batches)
		}
	})
}

func TestGraceEndsInTheOrderOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Authenticated})
		lost := make(map[string]*client)
		for _, user := range []string{"a", "b", "c", "d", "e"} {
			lost[user] = w.connect(user)
			lost[user].join("room", WatchNone)
		}
		forget(watcher)
		lost["a"].Close()
		pass(time.Second)
		lost["b"].Close()
		lost["c"].Close()
		w.host().SetRules(&Rules{Grace: time.Second})
		lost["d"].Close() // ends before the others
		lost["e"].leave("room")
		w.connect("b").join("room", WatchNone)
		watcher.hears("presence room seq=6 count=5 -e")
		pass(time.Second)
		watcher.hears("presence room seq=7 count=4 -d")
		pass(time.Second)
		watcher.hears("presence room seq=8 count=3 -a")
		pass(time.Second)
		watcher.hears("presence room seq=9 count=2 -c")
	})
}

func TestGraceNeedsAWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, class := range []Class{{Kind: Authenticated}, {Kind: Anonymous}} {
			w, watcher := graced(t, class)
			stay, first, second := w.connect("s"), w.connect("a"), w.connect("b")
			for _, c := range []*client{stay, first, second} {
				c.join("room", WatchNone)
			}
			first.Close()
			watcher.join("room", WatchNone)
			second.Close()
			ch := w.host().channels["room"]
			if ch.overlay != nil || len(ch.members) != int(ch.users) {
				t.Errorf("%v: %+v and %d members of %d are left", class.Kind, ch.overlay, len(ch.members), ch.users)
			}
			forget(watcher)
			watcher.join("room", WatchCount)
			pass(2 * testGrace)
			if got := diffTexts(watcher); len(got) != 1 {
				t.Errorf("%v: heard %q, want the answer alone", class.Kind, got)
			}
		}
	})
}

// A user who came and was lost before a flush was never shown.
func TestGraceIsOnlyForShownUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher, _ := busy(t)
		w.host().SetRules(&Rules{Grace: testGrace})
		c := w.connect("a")
		c.join("room", WatchNone)
		c.Close()
		w.find("opener").Close()
		settle()
		watcher.hears()
		pass(testGrace)
		settle()
		if got := diffTexts(watcher); len(got) != 1 || got[0] != "presence room -opener<o@x>" {
			t.Errorf("heard %q", got)
		}
	})
}

// A watcher that may no longer see presence ends the grace periods of a channel without a flush. A
// change of a user who was lost there meets a channel that is not flushed yet.
func TestGraceEndsWithTheLastWatcherThatMaySee(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: Patterns{Granted: []string{"team-*"}}, Grace: testGrace})
	watcher, lost, stays := w.connect("w"), w.connect("u"), w.connect("u")
	for _, c := range []*client{watcher, lost} {
		c.SetGrants(grantsOf(MayAll, "*"))
		c.join("team-1", WatchList)
	}
	stays.join("room", WatchNone)
	lost.Close()
	watcher.login("w", grantsOf(MayJoin, "*"))
	if n := len(w.host().channels["team-1"].members); n != 1 {
		t.Errorf("%d members, want the watcher alone", n)
	}
	stays.authenticate("u<new@x>")
	wantLines(t, w.channels(PerUser), "room [u<new@x>]", "team-1 [w]")
}
