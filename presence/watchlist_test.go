package presence

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// signIn connects a user.
func (w *cacheWorld) signIn(user string) *pageConn {
	w.t.Helper()
	c := w.connect()
	if err := c.Authenticate(User{ID: user}, nil); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (c *pageConn) watch(t testing.TB, users ...string) {
	t.Helper()
	if err := c.WatchUsers(users); err != nil {
		t.Fatal(err)
	}
}

func newWatchWorld(t testing.TB, relay *askRelay) *cacheWorld {
	w := newCacheWorld(t, relay)
	w.rules.Watchlist, w.rules.Grace = true, 3*time.Second
	return w
}

func TestWatchedUsersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchWorld(t, nil)
		ada := w.signIn("ada")
		a, b := w.connect(), w.connect()
		a.watch(t, "ada", "bob", "ada")
		b.watch(t, "bob")
		a.wants(t, "online [ada] offline [bob]")
		b.wants(t, "online [] offline [bob]")
		bob := w.signIn("bob")
		second := w.signIn("bob")
		_ = second.Authenticate(User{ID: "bob"}, nil) // again
		a.wants(t, "online [bob] offline []")
		b.wants(t, "online [bob] offline []")
		bob.Close()
		time.Sleep(4 * time.Second)
		a.wants(t) // there is another tab
		second.Close()
		time.Sleep(2 * time.Second)
		bob = w.signIn("bob") // within the grace period
		time.Sleep(4 * time.Second)
		a.wants(t)
		bob.Close()
		time.Sleep(3 * time.Second)
		a.wants(t, "online [] offline [bob]")
		b.wants(t, "online [] offline [bob]")
		ada.Quit()
		a.wants(t, "online [] offline [ada]")
		if err := b.Authenticate(User{ID: "ada"}, nil); err != nil {
			t.Fatal(err)
		}
		a.wants(t, "online [ada] offline []")
		if err := b.Authenticate(User{ID: "bob"}, nil); err != nil {
			t.Fatal(err)
		}
		a.wants(t, "online [] offline [ada]", "online [bob] offline []")
		b.wants(t, "online [bob] offline []")
	})
}

func TestMembersAreNotSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchWorld(t, nil)
		a, b := w.connect(), w.connect()
		a.watch(t, "ada")
		if err := b.Identify(User{ID: "ada"}, nil); err != nil {
			t.Fatal(err)
		}
		a.wants(t, "online [] offline [ada]")
		if err := b.Authenticate(User{ID: "ada"}, nil); err != nil {
			t.Fatal(err)
		}
		a.wants(t, "online [ada] offline []")
		c := w.connect()
		if err := c.Identify(User{ID: "ada"}, nil); err != nil {
			t.Fatal(err)
		}
		b.Quit()
		a.wants(t, "online [] offline [ada]")
		c.Quit()
		a.wants(t)
	})
}

// Who has left while the rules had no watchlists is told to be gone when they have them again.
func TestWatchlistsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchWorld(t, nil)
		ada, bob := w.signIn("ada"), w.signIn("bob")
		a := w.connect()
		a.watch(t, "ada", "bob")
		a.wants(t, "online [ada bob] offline []")
		h := w.reg.Host(w.name)
		off, on := w.rules, w.rules
		off.Watchlist = false
		h.SetRules(&off)
		ada.Quit()
		a.wants(t)
		h.SetRules(&on)
		a.wants(t, "online [] offline [ada]")
		bob.Quit()
		a.wants(t, "online [] offline [bob]")
	})
}

func TestWatchlistsAreBoundedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchWorld(t, nil)
		a := w.connect()
		var users []string
		for i := range MaxWatchlist + 1 {
			users = append(users, fmt.Sprint("u", i))
		}
		a.watch(t, users...)
		last := w.signIn(users[MaxWatchlist])
		w.signIn(users[MaxWatchlist-1])
		a.wants(t, fmt.Sprintf("online [] offline %v", users[:MaxWatchlist]), "online [u99] offline []")
		a.watch(t, "u100")
		a.wants(t, "online [u100] offline []")
		last.Close() // in its grace period
		a.watch(t)
		a.Close()
		if err := a.WatchUsers([]string{"u1"}); err == nil {
			t.Error("a closed connection watches")
		}
		time.Sleep(4 * time.Second)
		a.wants(t)
		h := w.reg.Host(w.name)
		if len(h.watchlists) != 0 {
			t.Errorf("%d watchlists", len(h.watchlists))
		}
		for _, r := range h.rosters {
			if len(r.watched)+len(r.waiting) > 0 {
				t.Errorf("%s: %d users are watched, %d wait", r.name, len(r.watched), len(r.waiting))
			}
		}
	})
}

// The first frame waits for other pods, and users of several pods are online until the last one has
// lost them.
func TestWatchlistsSeeUsersOfOtherPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchWorld(t, new(askRelay))
		a, pods, shard := w.connect(), w.reg.Pods(), rosterName("ada")
		merge := func(pod string, d Delta, want MergeResult) {
			t.Helper()
			if got := pods.MergeDelta(w.name, shard, pod, d); got != want {
				t.Errorf("merge: %v, want %v", got, want)
			}
		}
		ada := []Member{{User: User{ID: "ada"}}}
		merge("p", Delta{Clock: 1, Joined: ada}, Unwanted)
		a.watch(t, "ada")
		merge("p", Delta{Clock: 2, Joined: ada}, Merged)
		a.wants(t)
		pods.Ready(w.name, shard)
		a.wants(t, "online [ada] offline []")
		merge("q", Delta{Clock: 5, Joined: ada}, Merged)
		merge("q", Delta{Clock: 5, Joined: ada}, Stale)
		merge("q", Delta{Clock: 7, Base: 6}, Gap)
		merge("p", Delta{Clock: 3, Base: 2, Left: []Departure{{ID: "ada"}}}, Merged)
		a.wants(t)
		if pods.Clock(w.name, shard, "p") != 0 || pods.Clock(w.name, shard, "q") != 5 {
			t.Error("clocks are wrong")
		}
		pods.Forget("q") // it has crashed
		time.Sleep(3*time.Second - time.Millisecond)
		a.wants(t)
		time.Sleep(time.Millisecond)
		a.wants(t, "online [] offline [ada]")
		merge("q", Delta{Clock: 1, Joined: ada}, Merged)
		a.wants(t, "online [ada] offline []")
		merge("q", Delta{Clock: 2}, Merged) // a whole part without the user
		time.Sleep(time.Second)
		pods.SetRelay(nil)
		a.wants(t)
		time.Sleep(3 * time.Second)
		a.wants(t, "online [] offline [ada]")
	})
}

// Other pods receive changes of the users who are signed in, and nothing if the rules have no
// watchlist.
func TestOtherPodsAreToldWhoIsSignedIn(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			w := newWatchWorld(t, new(askRelay))
			w.rules.Watchlist = on
			pods, shard := w.reg.Pods(), rosterName("ada")
			stays := w.connect()
			changes := func(want string) {
				t.Helper()
				d, ok := pods.Changes(w.name, shard)
				got := deltaText(d)
				if !ok {
					got = ""
				}
				if !on {
					want = ""
				}
				if got != want {
					t.Errorf("changes %q, want %q", got, want)
				}
			}
			ada := w.signIn("ada")
			again := w.signIn("ada")
			changes("full +ada conns=0")
			again.Close()
			changes("")
			ada.Close()
			changes("-ada? conns=0")
			ada = w.signIn("ada")
			_ = stays.Authenticate(User{ID: "ada"}, nil)
			stays.Close()
			changes("+ada conns=0")
			d, ok := pods.StateAfter(w.name, shard, 0)
			if ok != on || len(d.Joined) > 0 != on {
				t.Errorf("state %+v, %v", d, ok)
			}
			if _, ok := pods.StateAfter(w.name, shard, d.Clock); ok && on {
				t.Error("the state is not known by its clock")
			}
			ada.Quit() // the host ends
			changes("-ada conns=0")
		})
	}
}
