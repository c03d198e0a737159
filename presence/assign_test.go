package presence

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// assign assigns the user to the channel, without an error.
func (c *client) assign(user, channel string) {
	c.t.Helper()
	if err := c.Assign(user, channel); err != nil {
		c.t.Fatalf("assign %s to %q: %v", user, channel, err)
	}
}

func TestAssignJoinsWithoutARequest(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	forget(watcher)
	c := w.connect("a<a@x>")
	c.assign("a", "room")
	c.hears("joined room authenticated")
	watcher.hears("presence room seq=1 count=2 +a<a@x>")
	wantLines(t, w.channels(PerUser), "room [a<a@x> w]")

	c.assign("a", "room")
	c.hears() // it has joined already
	if !c.Unassign("room") {
		t.Error("not removed")
	}
	c.hears("left room (removed)")
	watcher.hears("presence room seq=2 count=1 -a<a@x>")
	if c.Unassign("room") {
		t.Error("removed twice")
	}
	c.hears()
}

func TestAssignedChannelsAreJoinedAndLeftLikeOthers(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.assign("a", "room")
	forget(c)
	if err := c.Join("room", WatchList, "7"); err != nil {
		t.Fatal(err)
	}
	c.hears("joined room#7 authenticated seq=0 count=1 [a]")
	if got := c.Assigned(); !slices.Equal(got, []string{"room"}) {
		t.Errorf("assigned %q after the join", got)
	}
	c.leave("room")
	c.hears("left room")
	if got := c.Assigned(); got != nil {
		t.Errorf("assigned %q after the leave", got)
	}
	wantLines(t, w.channels(PerUser))
}

// A channel that the client joined before becomes an assigned one, and is left with the assignment.
func TestAssignReplacesAJoin(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.join("room", WatchNone)
	if c.Unassign("room") {
		t.Error("a channel that was not assigned was left")
	}
	forget(c)
	c.assign("a", "room")
	c.hears()
	c.Unassign("room")
	c.hears("left room (removed)")
}

func TestAssignRefuses(t *testing.T) {
	broken := errors.New("broken")
	kinds := classifierFunc(func(channel string) (Class, error) {
		switch {
		case channel == "broken":
			return Class{}, broken
		case channel == "denied":
			return Class{Kind: Authenticated, Denied: true}, nil
		case strings.HasPrefix(channel, "open"):
			return Class{Kind: Anonymous}, nil
		}
		return Class{Kind: Authenticated}, nil
	})
	gate := authorizerFunc(func(_ HostName, channel string, _ *User) error {
		if channel == "gated" {
			return ErrDenied
		}
		return nil
	})
	tests := []struct {
		channel      string
		want, before error // results of Assign and of Assignable
	}{
		{"room", nil, nil},
		{"open", errNotAuthenticated, errNotAuthenticated},
		{"open there", errNotAuthenticated, errNotAuthenticated},
		{"denied", ErrDenied, ErrDenied},
		{"gated", ErrDenied, nil}, // the authorizer decides about connections only
		{"broken", ErrUnavailable, ErrUnavailable},
		{"tab|x", ErrReservedChannel, ErrReservedChannel},
		{"", ErrBadChannel, ErrBadChannel},
		{"a\x00b", ErrBadChannel, ErrBadChannel},
		{"elevenbytes", ErrBadChannel, ErrBadChannel},
	}
	for _, tt := range tests {
		t.Run(tt.channel, func(t *testing.T) {
			rules := &Rules{Classifier: kinds, Authorizer: gate, MaxName: 10}
			if err := rules.Assignable(newWorld(t, rules).name, tt.channel); !errors.Is(err, tt.before) {
				t.Errorf("assignable: %v, want %v", err, tt.before)
			}
			w := newWorld(t, rules)
			w.connect("b").join("open there", WatchNone)
			c := w.connect("a")
			if err := c.Assign("a", tt.channel); !errors.Is(err, tt.want) {
				t.Errorf("assign: %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				c.hears()
				wantLines(t, w.channels(PerUser), "open there 1") // no channel is left active
			}
		})
	}
}

func TestAssignKeepsTheLimitOfChannels(t *testing.T) {
	w := newWorld(t, &Rules{MaxChannels: 1})
	c := w.connect("a")
	c.assign("a", "one")
	if err := c.Assign("a", "two"); !errors.Is(err, ErrTooManyChannels) {
		t.Errorf("got %v", err)
	}
}

// A connection that logged in as another user, or was closed, is not joined.
func TestAssignIsForTheUserAlone(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("keeper")
	c := w.connect("a")
	c.authenticate("b")
	c.assign("a", "room")
	anonymous := w.connect("")
	anonymous.assign("a", "room")
	wantLines(t, w.channels(PerUser))
	c.Close()
	if err := c.Assign("b", "room"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if c.Unassign("room") {
		t.Error("a closed connection was removed")
	}
}

func TestAssignWhileTheUserChanges(t *testing.T) {
	g := newGate()
	w := newWorld(t, &Rules{Authorizer: g})
	c := w.connect("a")
	done := make(chan error, 1)
	go func() { done <- c.Assign("a", "room") }()
	g.asked(t, "room a")
	c.authenticate("b")
	g.answers <- nil
	g.asked(t, "room b")
	g.answers <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantLines(t, w.channels(PerUser))
}

func TestUserConnsFollowsLogins(t *testing.T) {
	w := newWorld(t, &Rules{})
	conns := make(map[string]*client)
	for _, name := range []string{"1", "2", "3"} {
		conns[name] = w.connect("a")
	}
	conns["4"] = w.connect("b")
	conns["5"] = w.connect("")
	want := func(user string, names ...string) {
		t.Helper()
		var got []string
		for _, c := range w.host().UserConns(user) {
			for name, client := range conns {
				if client.Conn == c {
					got = append(got, name)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("connections of %s: %q, want %q", user, got, names)
		}
	}
	want("a", "1", "2", "3")
	want("b", "4")
	want("c")
	conns["2"].authenticate("b")
	want("a", "1", "3")
	want("b", "2", "4")
	conns["5"].authenticate("a")
	conns["3"].authenticate("a") // the same user again
	want("a", "1", "3", "5")
	conns["1"].Close()
	conns["5"].Close()
	want("a", "3")
	conns["3"].Close()
	want("a")
	if n := len(w.host().LoggedInConns()); n != 2 {
		t.Errorf("%d connections with a user, want 2", n)
	}
}

// A membership stays assigned while its channel is anonymous, and ends with the assignment.
func TestAssignedChannelBecomesAnonymous(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.assign("a", "room")
	forget(c)
	if kind, ok := w.host().KindOf("room"); !ok || kind != Authenticated {
		t.Errorf("kind %v, %v", kind, ok)
	}
	w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Anonymous}}})
	c.hears()
	if kind, ok := w.host().KindOf("room"); !ok || kind != Anonymous {
		t.Errorf("kind %v, %v", kind, ok)
	}
	c.Unassign("room")
	c.hears("left room (removed)")
	if _, ok := w.host().KindOf("room"); ok {
		t.Error("the channel is still active")
	}
}
