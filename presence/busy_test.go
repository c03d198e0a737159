package presence

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// busy returns a room whose many watchers delay the next flush, and a watcher.
func busy(t *testing.T) (*world, *client, []*meter) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	meters := w.crowd(200, WatchCount, 0)
	settle()
	w.connect("opener<o@x>").join("room", WatchNone) // flushed at once, so that the next change waits
	forget(watcher)
	sum(meters)
	return w, watcher, meters
}

// diffTexts returns the frames that a watcher received, without sequence number and count.
func diffTexts(c *client) []string {
	lines := c.heard()
	for i, line := range lines {
		fields := strings.Fields(line)
		lines[i] = strings.Join(slices.DeleteFunc(fields, func(f string) bool {
			return strings.HasPrefix(f, "seq=") || strings.HasPrefix(f, "count=")
		}), " ")
	}
	return lines
}

func TestBusyChannelSendsOnlyTheOutcome(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world)
		want []string // frames that a watcher has received in the end
	}{
		{"one joins", func(w *world) { w.connect("a").join("room", WatchNone) }, []string{"presence room +a"}},
		{"join and leave", func(w *world) {
			c := w.connect("a")
			c.join("room", WatchNone)
			c.leave("room")
		}, nil},
		{"watch and leave", func(w *world) {
			c := w.connect("a")
			c.join("room", WatchList)
			c.leave("room")
		}, nil},
		{"watch and close", func(w *world) {
			c := w.connect("a")
			c.join("room", WatchList)
			c.Close()
		}, nil},
		{"two come and one goes", func(w *world) {
			a, b := w.connect("a"), w.connect("b")
			a.join("room", WatchNone)
			b.join("room", WatchNone)
			a.Close()
		}, []string{"presence room +b"}},
		{"one who is there goes and comes back", func(w *world) {
			c := w.find("opener")
			c.leave("room")
			c.join("room", WatchNone)
		}, nil},
		{"one who is there reconnects", func(w *world) {
			w.find("opener").Close()
			w.connect("opener<o@x>").join("room", WatchNone)
		}, nil},
		{"one who is there reconnects more than once", func(w *world) {
			w.find("opener").Close()
			for range 3 {
				c := w.connect("opener<o@x>")
				c.join("room", WatchNone)
				c.Close()
			}
			w.connect("opener<o@x>").join("room", WatchNone)
		}, nil},
		{"one who is there reconnects with another e-mail", func(w *world) {
			w.find("opener").Close()
			w.connect("opener<new@x>").join("room", WatchNone)
		}, []string{"presence room ~opener<new@x>"}},
		{"one who is there reconnects without an e-mail", func(w *world) {
			w.find("opener").Close()
			w.connect("opener").join("room", WatchNone)
		}, []string{"presence room ~opener"}},
		{"one who is there reconnects and does not join", func(w *world) {
			w.find("opener").Close()
			w.connect("opener<o@x>")
		}, []string{"presence room -opener<o@x>"}},
		{"another user and back", func(w *world) {
			c := w.find("opener")
			c.authenticate("a")
			c.authenticate("opener<o@x>")
		}, nil},
		{"another user, left behind", func(w *world) {
			w.find("opener").authenticate("a")
		}, []string{"presence room +a -opener<o@x>"}},
		{"a join with an e-mail that changes", func(w *world) {
			w.connect("a<1@x>").join("room", WatchNone)
			w.connect("a<2@x>")
		}, []string{"presence room +a<2@x>"}},
		{"an e-mail changes and the user goes", func(w *world) {
			c := w.find("opener")
			c.authenticate("opener<new@x>")
			c.Close()
		}, []string{"presence room -opener<new@x>"}},
		{"an e-mail changes twice", func(w *world) {
			w.connect("opener<2@x>")
			w.connect("opener<3@x>")
		}, []string{"presence room ~opener<3@x>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher, _ := busy(t)
				tt.do(w)
				watcher.hears() // not yet
				settle()
				if got := diffTexts(watcher); !slices.Equal(got, tt.want) {
					t.Errorf("heard %q, want %q", got, tt.want)
				}
				users, stats := w.host().Users(PerUser)
				if len(users) != stats.Users {
					t.Errorf("%d users, but %d are counted", len(users), stats.Users)
				}
			})
		})
	}
}

func TestBusyChannelSendsAnEmailOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher, _ := busy(t)
		w.connect("opener<new@x>")
		settle()
		if got := diffTexts(watcher); !slices.Equal(got, []string{"presence room ~opener<new@x>"}) {
			t.Errorf("heard %q", got)
		}
		w.connect("a").join("room", WatchNone) // flushed at once, so that the next change waits
		forget(watcher)
		c := w.find("opener")
		c.leave("room")
		c.join("room", WatchNone)
		settle()
		watcher.hears()
	})
}

// A user who has left is not listed, even if watchers do not know it yet.
func TestBusyChannelIsListedAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := busy(t)
		before := w.host().Stats()
		w.find("opener").Close()
		l, _ := w.host().Channel("room", PerUser)
		users, stats := w.host().Users(PerUser)
		for _, list := range [][]User{l.Users, users} {
			if slices.ContainsFunc(list, func(u User) bool { return u.ID == "opener" }) {
				t.Error("the user is listed")
			}
		}
		if stats.Users != before.Users-1 || len(users) != stats.Users {
			t.Errorf("%d users, %d of them listed; want %d", stats.Users, len(users), before.Users-1)
		}
		settle()
		if got := w.host().Stats(); got != stats {
			t.Errorf("stats %+v, then %+v", stats, got)
		}
	})
}

func TestBusyChannelAnswersInOrder(t *testing.T) {
	ref := func(c *client, watch Watch, ref string) {
		if err := c.Join("room", watch, ref); err != nil {
			c.t.Fatal(err)
		}
	}
	leave := func(c *client, ref string) {
		if err := c.Leave("room", ref); err != nil {
			c.t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		do   func(c *client)
		want []string // beginning of each frame
	}{
		{"leave while it waits", func(c *client) { ref(c, WatchList, "1"); leave(c, "2") }, []string{
			"joined room#1 authenticated", "left room#2",
		}},
		{"join again while it waits", func(c *client) { ref(c, WatchList, "1"); ref(c, WatchCount, "2") }, []string{
			"joined room#1 authenticated", "joined room#2 authenticated",
		}},
		{"watch no longer while it waits", func(c *client) { ref(c, WatchList, "1"); ref(c, WatchNone, "2") }, []string{
			"joined room#1 authenticated", "joined room#2 authenticated",
		}},
		{"leave and come back", func(c *client) {
			ref(c, WatchList, "1")
			leave(c, "2")
			ref(c, WatchList, "3")
		}, []string{"joined room#1 authenticated", "left room#2", "joined room#3 authenticated"}},
		{"close while it waits", func(c *client) { ref(c, WatchList, "1"); c.Close() }, nil},
		{"taken out while it waits", func(c *client) {
			ref(c, WatchList, "1")
			c.host.SetRules(rulesOf(classes{"room": {Denied: true}}))
		}, []string{"joined room#1 authenticated", "left room"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, _ := busy(t)
				c := w.connect("a")
				tt.do(c)
				settle()
				got := c.heard()
				ok := len(got) == len(tt.want)
				for i := range tt.want {
					ok = ok && strings.HasPrefix(got[i], tt.want[i])
				}
				if !ok {
					t.Errorf("frames %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// One connection that joins and leaves without pause must not make the channel flush each time.
func TestBusyChannelCannotBeHurried(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *client)
	}{
		{"join and leave", func(c *client) {
			c.join("room", WatchList)
			c.leave("room")
		}},
		{"join and join", func(c *client) {
			c.join("room", WatchList)
			c.join("room", WatchNone)
			c.leave("room")
		}},
		{"join again and again", func(c *client) { c.join("room", WatchCount) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, meters := busy(t)
				c, other := w.connect("a"), w.connect("b")
				for i := range 100 {
					if i%2 == 0 { // a change to flush each time
						other.join("room", WatchNone)
					} else {
						other.leave("room")
					}
					tt.do(c)
				}
				settle()
				if _, diffs := sum(meters); diffs > len(meters) {
					t.Errorf("each watcher received %d diffs", diffs/len(meters))
				}
			})
		})
	}
}

func TestBusyChannelThatEmptiesLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher, _ := busy(t)
		w.connect("a").join("room", WatchList)
		for _, c := range slices.Clone(w.host().conns) {
			if c != watcher.Conn {
				c.Close()
			}
		}
		watcher.leave("room")
		forget(watcher)
		watcher.join("room", WatchList) // a new channel, which the timer of the old one does not affect
		watcher.hears("joined room authenticated seq=0 count=1 [w]")
		settle()
		watcher.hears()
		watcher.Close()
		if w.reg.Host(w.name) != nil {
			t.Error("the host is still there")
		}
	})
}

// find returns the first connection of a user, with its inbox.
func (w *world) find(user string) *client {
	w.t.Helper()
	for _, c := range w.host().conns {
		if c.user != nil && c.user.ID == user {
			return &client{Conn: c, t: w.t, in: c.out.(*inbox)}
		}
	}
	w.t.Fatalf("%s has no connection", user)
	return nil
}
