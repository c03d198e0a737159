package presence

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// authorizerFunc is a function as an Authorizer.
type authorizerFunc func(host HostName, channel string, user *User) error

func (f authorizerFunc) Authorize(host HostName, channel string, user *User) error {
	return f(host, channel, user)
}

// gate is an Authorizer whose answers come from the test. Without asking it, a guest may join every
// channel, and every user the open channel.
type gate struct {
	questions chan string
	answers   chan error
}

func newGate() *gate { return &gate{make(chan string), make(chan error)} }

func (g *gate) Authorize(_ HostName, channel string, user *User) error {
	question := channel + " anonymous"
	if user != nil {
		question = channel + " " + userTexts([]User{*user})[0]
	}
	if question == "room guest" || channel == "open" {
		return nil
	}
	g.questions <- question
	return <-g.answers
}

// joining starts a join. It returns a channel for its error after the question was asked.
func (g *gate) joining(c *client, channel, question string) <-chan error {
	c.t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Join(channel, WatchList, "") }()
	g.asked(c.t, question)
	return done
}

func (g *gate) asked(t testing.TB, question string) {
	t.Helper()
	if got := <-g.questions; got != question {
		t.Errorf("asked about %q, want %q", got, question)
	}
}

// diary is an Authorizer that allows every join and records the questions.
type diary struct {
	mu    sync.Mutex
	asked []string
}

func (d *diary) Authorize(host HostName, channel string, user *User) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	who := "anonymous"
	if user != nil {
		who = userTexts([]User{*user})[0]
	}
	d.asked = append(d.asked, fmt.Sprintf("%s %s %s", host, channel, who))
	return nil
}

func (d *diary) wants(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.asked, want) {
		t.Errorf("asked %q, want %q", d.asked, want)
	}
	d.asked = nil
}

func TestAuthorizerIsAskedBeforeEachMembershipOnly(t *testing.T) {
	d := new(diary)
	w := newWorld(t, &Rules{Authorizer: d, MaxChannels: 2, Classifier: classes{
		"lobby": {Kind: Anonymous}, "closed": {Kind: Authenticated, Denied: true},
	}})
	user, anonymous := w.connect("a<a@x>"), w.connect("")
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"a user activates", func() { user.join("room", WatchNone) }, []string{"portal.example.com room a<a@x>"}},
		{"joining again", func() { user.join("room", WatchList) }, nil},
		{"anonymous activates", func() { anonymous.join("lobby", WatchNone) }, []string{"portal.example.com lobby anonymous"}},
		{"a second listener", func() { user.join("lobby", WatchNone) }, []string{"portal.example.com lobby a<a@x>"}},
		{"the class refuses anonymous", func() { _ = anonymous.Join("room", WatchNone, "") }, nil},
		{"the class refuses all", func() { _ = anonymous.Join("closed", WatchNone, "") }, nil},
		{"at the limit of channels", func() { _ = user.Join("third", WatchNone, "") }, nil},
		{"a reserved name", func() { _ = anonymous.Join("tab|x", WatchNone, "") }, nil},
		{"a bad name", func() { _ = anonymous.Join("", WatchNone, "") }, nil},
		{"authenticate", func() { user.authenticate("b") }, nil},
		{"reload", func() { w.host().SetRules(&Rules{Authorizer: d}) }, nil},
		{"leave and return", func() { user.leave("room"); user.join("room", WatchNone) }, []string{"portal.example.com room b"}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.do()
			d.wants(t, step.want...)
		})
	}
}

func TestAuthorizerRefusesAndLeavesNothing(t *testing.T) {
	trapped := errors.New("plugin trapped")
	tests := []struct {
		name   string
		says   error
		want   error
		unlike error
	}{
		{"denied", ErrDenied, ErrDenied, ErrUnavailable},
		{"denied for a reason", fmt.Errorf("%w: not in the team", ErrDenied), ErrDenied, ErrUnavailable},
		{"failure", trapped, ErrUnavailable, ErrDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &Rules{Authorizer: authorizerFunc(func(HostName, string, *User) error { return tt.says })})
			c := w.connect("a")
			err := c.Join("room", WatchList, "")
			if !errors.Is(err, tt.want) || !errors.Is(err, tt.says) || errors.Is(err, tt.unlike) {
				t.Errorf("got %v, want %v around %v", err, tt.want, tt.says)
			}
			c.hears()
			if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1}); got != want {
				t.Errorf("stats %+v, want %+v", got, want)
			}
		})
	}
}

func TestPanickingAuthorizerDoesNotWedgeTheHost(t *testing.T) {
	broken := true
	w := newWorld(t, &Rules{Authorizer: authorizerFunc(func(HostName, string, *User) error {
		if broken {
			panic("authorizer")
		}
		return nil
	})})
	c := w.connect("a")
	func() {
		defer func() {
			if v := recover(); v != "authorizer" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = c.Join("room", WatchNone, "")
	}()
	broken = false
	c.join("room", WatchNone)
	wantLines(t, w.channels(PerUser), "room [a]")
}

// The lock is not held while an authorizer runs, so it may use the package and may be slow.
func TestAuthorizerMayUseTheHost(t *testing.T) {
	var w *world
	w = newWorld(t, &Rules{Authorizer: authorizerFunc(func(name HostName, channel string, _ *User) error {
		if l, ok := w.reg.Host(name).Channel(channel, PerConnection); ok && len(l.Users) > 0 {
			return fmt.Errorf("%w: refused", ErrDenied)
		}
		return nil
	})})
	w.connect("a").join("room", WatchNone)
	if err := w.connect("b").Join("room", WatchNone, ""); !errors.Is(err, ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	wantLines(t, w.channels(PerUser), "room [a]")
}

func TestWhatHappensWhileTheAuthorizerIsAsked(t *testing.T) {
	trapped := errors.New("plugin trapped")
	tests := []struct {
		name   string
		user   string
		during func(w *world, c *client, g *gate)
		answer error // answer to the question
		after  string
		again  error // answer to a second question, which after names; "" if there is none
		want   error
		list   []string
	}{
		{name: "nothing", user: "a", list: []string{"room [a]"}},
		{name: "close", user: "a", during: func(_ *world, c *client, _ *gate) { c.Close() }, want: ErrClosed},
		{
			name: "close, and the answer is an error", user: "a",
			during: func(_ *world, c *client, _ *gate) { c.Close() }, answer: trapped, want: ErrClosed,
		},
		{
			name: "another user, who may not", user: "a",
			during: func(_ *world, c *client, _ *gate) { c.authenticate("b") },
			after:  "room b", again: ErrDenied, want: ErrDenied,
		},
		{
			name: "another user, who may", user: "a",
			during: func(_ *world, c *client, _ *gate) { c.authenticate("b") },
			answer: ErrDenied, after: "room b", list: []string{"room [b]"},
		},
		{
			name: "another e-mail", user: "a<1@x>",
			during: func(w *world, _ *client, _ *gate) { w.connect("a<2@x>") },
			after:  "room a<2@x>", again: trapped, want: ErrUnavailable,
		},
		{
			name: "the same user again", user: "a",
			during: func(_ *world, c *client, _ *gate) { c.authenticate("b"); c.authenticate("a") }, list: []string{"room [a]"},
		},
		{
			name: "another connection activates the channel", user: "a",
			during: func(w *world, _ *client, _ *gate) {
				w.connect("guest").join("room", WatchNone)
			},
			answer: ErrDenied, want: ErrDenied, list: []string{"room [guest]"},
		},
		{
			name: "new rules without an authorizer", user: "a",
			during: func(w *world, _ *client, _ *gate) { w.host().SetRules(&Rules{}) },
			answer: ErrDenied, list: []string{"room [a]"},
		},
		{
			name: "new rules, which refuse by class", user: "a",
			during: func(w *world, _ *client, _ *gate) {
				w.host().SetRules(&Rules{Classifier: classes{"room": {Denied: true}}})
			},
			want: ErrDenied,
		},
		{
			name: "new rules that ask too", user: "a",
			during: func(w *world, _ *client, g *gate) { w.host().SetRules(&Rules{Authorizer: g}) },
			after:  "room a", again: ErrDenied, want: ErrDenied,
		},
		{
			name: "the limit of channels falls", user: "a",
			during: func(w *world, c *client, g *gate) {
				w.host().SetRules(&Rules{Authorizer: g, MaxChannels: 1})
				c.join("open", WatchNone)
			},
			want: ErrTooManyChannels, list: []string{"open [a]"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGate()
			w := newWorld(t, &Rules{Authorizer: g})
			w.connect("watcher") // keeps the host
			c := w.connect(tt.user)
			done := g.joining(c, "room", "room "+tt.user)
			if tt.during != nil {
				tt.during(w, c, g)
			}
			g.answers <- tt.answer
			if tt.after != "" {
				g.asked(t, tt.after)
				g.answers <- tt.again
			}
			if err := <-done; !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			wantLines(t, w.channels(PerConnection), tt.list...)
		})
	}
}

// If the same connection has joined the channel meanwhile, there is one membership.
func TestTwoJoinsOfOneConnectionAtOnceMakeOneMembership(t *testing.T) {
	g := newGate()
	w := newWorld(t, &Rules{Authorizer: g})
	c := w.connect("a")
	one, two := g.joining(c, "room", "room a"), g.joining(c, "room", "room a")
	for range 2 {
		g.answers <- nil
	}
	if err := errors.Join(<-one, <-two); err != nil {
		t.Fatal(err)
	}
	wantLines(t, w.channels(PerConnection), "room [a]")
}

// An anonymous connection that logs in during the question is another user.
func TestLoginWhileTheAuthorizerIsAsked(t *testing.T) {
	g := newGate()
	w := newWorld(t, &Rules{Authorizer: g, Classifier: classes{"lobby": {Kind: Anonymous}}})
	c := w.connect("")
	done := g.joining(c, "lobby", "lobby anonymous")
	c.authenticate("a")
	g.answers <- nil
	g.asked(t, "lobby a")
	g.answers <- ErrDenied
	if err := <-done; !errors.Is(err, ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	wantLines(t, w.channels(PerConnection))
}

// The channel ends and becomes active with another class while the authorizer decides about the
// first one.
func TestChannelChangesItsClassWhileTheAuthorizerIsAsked(t *testing.T) {
	g := newGate()
	kinds := classes{"room": {Kind: Anonymous}}
	w := newWorld(t, &Rules{Authorizer: g, Classifier: kinds})
	first, c := w.connect("a"), w.connect("")
	joined := g.joining(first, "room", "room a")
	g.answers <- nil
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	done := g.joining(c, "room", "room anonymous")
	w.host().SetRules(&Rules{Authorizer: g, Classifier: classes{}})
	g.answers <- nil
	if err := <-done; !errors.Is(err, ErrLoginRequired) {
		t.Errorf("got %v, want ErrLoginRequired", err)
	}
	wantLines(t, w.channels(PerConnection), "room [a]")
}

// What the authorizer is not told of a user may change while it is asked.
func TestAuthorizerIsNotAskedAgainAboutAStatus(t *testing.T) {
	var c *client
	asked := 0
	w := newWorld(t, &Rules{Authorizer: authorizerFunc(func(HostName, string, *User) error {
		if asked++; asked == 1 {
			c.status(`{"away":true}`)
		}
		return nil
	})})
	c = w.connect("a")
	c.join("room", WatchNone)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
