package presence

import (
	"errors"
	"strings"
	"testing"
)

func TestOneEntryPerUser(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("b").join("room", WatchNone)
	for range 3 {
		w.connect("a").join("room", WatchNone)
	}
	wantLines(t, w.channels(PerUser), "room [a b]")
	wantLines(t, w.channels(PerConnection), "room [a a a b]")
}

func TestFirstConnectionJoinsAndLastLeaves(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("w")
	watcher.join("room", WatchList)
	forget(watcher)

	first, second := w.connect("a"), w.connect("a")
	first.join("room", WatchNone)
	watcher.hears("presence room seq=1 count=2 +a")
	second.join("room", WatchNone)
	watcher.hears()
	first.leave("room")
	watcher.hears()
	second.Close()
	watcher.hears("presence room seq=2 count=1 -a")
}

func TestAnonymousChannelCountsConnections(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("")
	watcher.join("anonymousChat", WatchCount)
	watcher.hears("joined anonymousChat anonymous seq=0 count=1")

	user := w.connect("a")
	user.join("anonymousChat", WatchList)
	user.hears("joined anonymousChat anonymous seq=1 count=2")
	again := w.connect("a")
	again.join("anonymousChat", WatchNone)
	again.hears("joined anonymousChat anonymous")
	watcher.hears("presence anonymousChat seq=1 count=2", "presence anonymousChat seq=2 count=3")
	user.Close()
	watcher.hears("presence anonymousChat seq=3 count=2")
	wantLines(t, w.channels(PerUser), "anonymousChat 2")
}

func TestJoiningAgainListensOnceAndChangesTheWatch(t *testing.T) {
	w := newWorld(t, &Rules{})
	c, other := w.connect("a"), w.connect("b")
	c.join("room", WatchNone)
	c.hears("joined room authenticated")
	c.join("room", WatchNone)
	c.hears("joined room authenticated")
	wantLines(t, w.channels(PerConnection), "room [a]")

	c.join("room", WatchCount)
	c.hears("joined room authenticated seq=0 count=1")
	c.join("room", WatchList)
	c.hears("joined room authenticated seq=0 count=1 [a]")
	other.join("room", WatchNone)
	c.hears("presence room seq=1 count=2 +b")
	c.join("room", WatchNone)
	c.hears("joined room authenticated")
	other.leave("room")
	c.hears()

	c.leave("room")
	if err := c.Leave("room", ""); !errors.Is(err, ErrNotJoined) {
		t.Errorf("leaving twice: %v", err)
	}
}

func TestAnswersCarryTheReference(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	for ref, watch := range map[string]Watch{"n": WatchNone, "c": WatchCount, "l": WatchList} {
		if err := c.Join("room", watch, ref); err != nil {
			t.Fatal(err)
		}
		if lines := c.heard(); len(lines) != 1 || !strings.HasPrefix(lines[0], "joined room#"+ref+" ") {
			t.Errorf("join with %q is answered %q", ref, lines)
		}
	}
	if err := c.Leave("room", "x"); err != nil {
		t.Fatal(err)
	}
	c.hears("left room#x")
}

func TestLeaveWhatIsNotJoined(t *testing.T) {
	w := newWorld(t, &Rules{})
	c, other := w.connect("a"), w.connect("b")
	other.join("room", WatchNone)
	tests := []struct {
		name, channel string
		want          error
	}{
		{"never active", "nowhere", ErrNotJoined},
		{"active without us", "room", ErrNotJoined},
		{"empty", "", ErrNotJoined},
		{"its own private channel", c.ID().PrivateChannel(), ErrReservedChannel},
		{"the private channel of another", other.ID().PrivateChannel(), ErrReservedChannel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.Leave(tt.channel, ""); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			c.hears()
		})
	}
}

func TestBadChannelNames(t *testing.T) {
	w := newWorld(t, &Rules{MaxName: 16})
	c := w.connect("a")
	tests := []struct {
		name, channel string
		want          error // nil if it can be joined
	}{
		{"empty", "", ErrBadChannel},
		{"longest", strings.Repeat("a", 16), nil},
		{"too long", strings.Repeat("a", 17), ErrBadChannel},
		{"too long in bytes, not in characters", strings.Repeat("é", 9), ErrBadChannel},
		{"not UTF-8", "room\xff", ErrBadChannel},
		{"NUL", "room\x00", ErrBadChannel},
		{"new line", "room\n", ErrBadChannel},
		{"DEL", "room\x7f", ErrBadChannel},
		{"C1 control", "room\u0085", ErrBadChannel},
		{"last C1 control", "room\u009f", ErrBadChannel},
		{"U+FFFD", "room\ufffd", ErrBadChannel},
		{"its neighbour", "room\ufffc", nil},
		{"no-break space", "room\u00a0", nil},
		{"space", "sales room", nil},
		{"other scripts", "部屋-é", nil},
		{"emoji", "🎉", nil},
		{"reserved", "tab|", ErrReservedChannel},
		{"its own private channel", c.ID().PrivateChannel(), ErrReservedChannel},
		{"reserved comes before too long", "tab|" + strings.Repeat("a", 100), ErrReservedChannel},
		{"almost reserved", "tab", nil},
		{"reserved in upper case is not", "TAB|x", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.Join(tt.channel, WatchList, "")
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				c.hears()
				return
			}
			forget(c)
			c.leave(tt.channel)
			forget(c)
		})
	}
	wantLines(t, w.channels(PerUser))
}

func TestNamesOfAnyLengthWithoutALimit(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("a").join(strings.Repeat("a", 100_000), WatchNone)
}

func TestChannelLimit(t *testing.T) {
	w := newWorld(t, &Rules{MaxChannels: 2})
	c, other := w.connect("a"), w.connect("b")
	c.join("one", WatchNone)
	c.join("two", WatchNone)
	other.join("three", WatchNone)
	forget(c)

	for _, channel := range []string{"three", "four"} { // one is active, one is not
		if err := c.Join(channel, WatchNone, ""); !errors.Is(err, ErrTooManyChannels) {
			t.Errorf("join %q: %v", channel, err)
		}
	}
	c.hears()
	c.join("one", WatchList) // joining again does not count
	c.leave("one")
	c.join("three", WatchNone)
	wantLines(t, w.channels(PerUser), "three [a b]", "two [a]")
}

// Only a channel that is not active counts against the limit of the host.
func TestHostChannelLimit(t *testing.T) {
	w := newWorld(t, &Rules{MaxHostChannels: 2})
	c, other := w.connect("a"), w.connect("b")
	c.join("one", WatchNone)
	c.join("two", WatchNone)
	forget(c)

	for name, join := range map[string]func(string) error{
		"join":   func(channel string) error { return c.Join(channel, WatchNone, "") },
		"other":  func(channel string) error { return other.Join(channel, WatchList, "") },
		"assign": func(channel string) error { return c.Assign("a", channel) },
	} {
		if err := join("three"); !errors.Is(err, ErrTooManyChannels) || !strings.Contains(err.Error(), "on this host: the limit is 2") {
			t.Errorf("%s of a third channel: %v", name, err)
		}
	}
	c.hears()
	other.join("two", WatchNone) // it is active
	c.leave("one")
	other.join("three", WatchNone)
	wantLines(t, w.channels(PerUser), "three [b]", "two [a b]")

	w.host().SetRules(&Rules{MaxHostChannels: 1}) // removes no channel
	wantLines(t, w.channels(PerUser), "three [b]", "two [a b]")
	name, err := ParseHostName("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := w.reg.Connect(name, &Rules{MaxHostChannels: 1}, nil, &inbox{tape: w.tape})
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Join("anonymous1", WatchNone, ""); err != nil {
		t.Errorf("the limit of one host holds on another: %v", err)
	}
}

// The classifier runs without the lock, and others join meanwhile: the limit applies at the moment
// of joining.
func TestHostChannelLimitWhileTheClassifierIsAsked(t *testing.T) {
	var w *world
	var other *client
	w = newWorld(t, &Rules{MaxHostChannels: 1, Classifier: classifierFunc(func(channel string) (Class, error) {
		if channel == "slow" {
			other.join("quick", WatchNone)
		}
		return Class{Kind: Authenticated}, nil
	})})
	c := w.connect("a")
	other = w.connect("b")
	if err := c.Join("slow", WatchNone, ""); !errors.Is(err, ErrTooManyChannels) {
		t.Errorf("the join returns %v", err)
	}
	wantLines(t, w.channels(PerUser), "quick [b]")
}

func TestConnectionLimit(t *testing.T) {
	w := newWorld(t, &Rules{MaxConns: 2})
	first := w.connect("a")
	w.connect("")
	if _, err := w.reg.Connect(w.name, w.rules, nil, &inbox{}); !errors.Is(err, errTooManyConns) {
		t.Errorf("a third connection: %v", err)
	}
	if got := w.host().Stats().Conns; got != 2 {
		t.Errorf("%d connections", got)
	}
	first.Close()
	w.connect("b")

	elsewhere, err := ParseHostName("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.reg.Connect(elsewhere, w.rules, nil, &inbox{}); err != nil {
		t.Errorf("the limit of one host holds on another: %v", err)
	}
}

func TestWhoMayJoin(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: classes{
		"open":            {Kind: Anonymous},
		"staff":           {Kind: Authenticated},
		"counted":         {Kind: Authenticated, CountOnly: true},
		"closed":          {Kind: Anonymous, Denied: true},
		"closed staff":    {Kind: Authenticated, Denied: true},
		"without a kind":  {},
		"private by rule": {Kind: Private},
		"denied only":     {Denied: true},
	}})
	anonymous, user := w.connect(""), w.connect("a")
	tests := []struct {
		channel        string
		anonymous, may error // errors of an anonymous connection and of a user
	}{
		{"open", nil, nil},
		{"staff", ErrLoginRequired, nil},
		{"counted", ErrLoginRequired, nil},
		{"closed", ErrDenied, ErrDenied},
		{"closed staff", ErrDenied, ErrDenied},
		{"denied only", ErrDenied, ErrDenied},
		// A classifier without a usable answer must not open the channel to everyone.
		{"without a kind", ErrUnavailable, ErrUnavailable},
		{"private by rule", ErrUnavailable, ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.channel, func(t *testing.T) {
			for range 2 { // in the second round, the channel is already active
				for _, try := range []struct {
					c    *client
					want error
				}{{anonymous, tt.anonymous}, {user, tt.may}} {
					err := try.c.Join(tt.channel, WatchNone, "")
					if !errors.Is(err, try.want) {
						t.Errorf("got %v, want %v", err, try.want)
					}
					if err != nil {
						try.c.hears()
					}
					forget(try.c)
				}
			}
		})
	}
	wantLines(t, w.channels(PerUser), "counted 1", "open 2", "staff [a]")
}

func TestCloseRemovesTheConnectionEverywhere(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher, c := w.connect("w"), w.connect("a")
	for _, channel := range []string{"one", "two"} {
		watcher.join(channel, WatchList)
		c.join(channel, WatchList)
	}
	c.join("alone", WatchList)
	forget(watcher, c)

	c.Close()
	c.hears()
	lines := watcher.heard()
	if len(lines) != 2 {
		t.Errorf("the watcher heard %q", lines)
	}
	wantLines(t, w.channels(PerUser), "one [w]", "two [w]")
	if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1, Channels: 2}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if _, ok := w.host().Channel(c.ID().PrivateChannel(), PerUser); ok {
		t.Error("its private channel is still listed")
	}
}

func TestClosedConnection(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("b")
	c := w.connect("a")
	c.join("room", WatchList)
	c.Close()
	c.Close()
	forget(c)
	for name, err := range map[string]error{
		"join":         c.Join("room", WatchNone, ""),
		"leave":        c.Leave("room", ""),
		"authenticate": c.Authenticate(User{ID: "b"}, nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	c.hears()
	if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}
