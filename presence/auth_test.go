package presence

import (
	"slices"
	"testing"
)

func TestAnonymousConnectionLogsIn(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("")
	c.join("anonymousChat", WatchCount)
	forget(c)
	if u, ok := c.User(); ok {
		t.Errorf("an anonymous connection has the user %+v", u)
	}

	c.authenticate("a<a@x>")
	c.hears() // the listener has changed, the count has not
	if u, ok := c.User(); !ok || u != (User{ID: "a", Email: "a@x"}) {
		t.Errorf("user %+v, %v", u, ok)
	}
	c.join("room", WatchList)
	c.hears("joined room authenticated seq=0 count=1 [a<a@x>]")
	if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1, Channels: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestAuthenticateIsSeenByWatchers(t *testing.T) {
	tests := []struct {
		name    string
		others  []string // other users in the room, in addition to the watcher w
		as      string   // new user of the connection of user a
		frames  []string // frames that the watcher receives
		listing string
	}{
		{"another user", nil, "b", []string{"presence room seq=1 count=2 +b -a<a@x>"}, "room [b w]"},
		{"the same user", nil, "a<a@x>", nil, "room [a<a@x> w]"},
		{"the same user, without an e-mail", nil, "a", nil, "room [a<a@x> w]"},
		{
			"the same user, with another e-mail", nil, "a<new@x>",
			[]string{"presence room seq=1 count=2 ~a<new@x>"},
			"room [a<new@x> w]",
		},
		{
			"away from a user with more connections",
			[]string{"a"},
			"b",
			[]string{"presence room seq=1 count=3 +b"},
			"room [a<a@x> b w]",
		},
		{
			"to a user who is there",
			[]string{"b"},
			"b",
			[]string{"presence room seq=1 count=2 -a<a@x>"},
			"room [b w]",
		},
		{"from and to users who stay", []string{"a", "b"}, "b", nil, "room [a<a@x> b w]"},
		{"to the watcher's user", nil, "w", []string{"presence room seq=1 count=1 -a<a@x>"}, "room [w]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &Rules{})
			c := w.connect("a<a@x>")
			c.join("room", WatchList)
			for _, user := range tt.others {
				w.connect(user).join("room", WatchNone)
			}
			watcher := w.connect("w")
			watcher.join("room", WatchList)
			// Compare sequence numbers from here on.
			w.host().channels["room"].seq = 0
			forget(c, watcher)

			c.authenticate(tt.as)
			watcher.hears(tt.frames...)
			c.hears(tt.frames...)
			wantLines(t, w.channels(PerUser), tt.listing)
		})
	}
}

func TestAuthenticateReachesEveryChannel(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.join("one", WatchList)
	c.join("two", WatchList)
	c.join("anonymousChat", WatchList)
	forget(c)
	c.authenticate("b")
	frames := c.heard()
	slices.Sort(frames)
	if want := []string{"presence one seq=1 count=1 +b -a", "presence two seq=1 count=1 +b -a"}; !slices.Equal(frames, want) {
		t.Errorf("frames %q, want %q", frames, want)
	}
	wantLines(t, w.channels(PerUser), "anonymousChat 1", "one [b]", "two [b]")
	l, ok := w.host().Channel(c.ID().PrivateChannel(), PerUser)
	if !ok || len(l.Users) != 1 || l.Users[0].ID != "b" {
		t.Errorf("the private channel is %+v, %v", l, ok)
	}
}

func TestLatestEmailWins(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	w.connect("a").join("room", WatchNone)
	forget(watcher)
	email := func() string {
		l, _ := w.host().Channel("room", PerUser)
		for _, u := range l.Users {
			if u.ID == "a" {
				return u.Email
			}
		}
		return "not there"
	}
	steps := []struct {
		name, user, want string
		frames           []string
	}{
		{"the first one that is known", "a<1@x>", "1@x", []string{"presence room seq=2 count=2 ~a<1@x>"}},
		{"a newer one", "a<2@x>", "2@x", []string{"presence room seq=3 count=2 ~a<2@x>"}},
		{"the same again", "a<2@x>", "2@x", nil},
		{"none does not erase it", "a", "2@x", nil},
	}
	for _, step := range steps {
		w.connect(step.user) // joins no channel
		if got := email(); got != step.want {
			t.Errorf("%s: e-mail %q, want %q", step.name, got, step.want)
		}
		watcher.hears(step.frames...)
	}

	users, _ := w.host().Users(PerUser)
	if got := userTexts(users); !slices.Equal(got, []string{"a<2@x>", "w"}) {
		t.Errorf("users %q", got)
	}
}

func TestEmailIsForgottenWithTheLastConnection(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("w")
	w.connect("a<a@x>").Close()
	c := w.connect("a")
	if u, _ := c.User(); u != (User{ID: "a"}) {
		t.Errorf("user %+v", u)
	}
}

func TestEmailThatChangesRightAfterAJoin(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher, c := w.connect("w"), w.connect("b")
	w.connect("a<1@x>")
	watcher.join("room", WatchList)
	c.join("room", WatchNone)
	forget(watcher)
	c.authenticate("a<2@x>")
	watcher.hears("presence room seq=2 count=2 +a<2@x> -b")
}
