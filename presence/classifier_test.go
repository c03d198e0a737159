package presence

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// desk is a Classifier whose answers come from the test.
type desk struct {
	questions chan string
	answers   chan verdict
}

type verdict struct {
	class Class
	err   error
}

func newDesk() *desk { return &desk{make(chan string), make(chan verdict)} }

func (d *desk) Classify(_ HostName, channel string) (Class, error) {
	d.questions <- channel
	v := <-d.answers
	return v.class, v.err
}

// joining starts a join. It returns a channel for its error after the classifier was asked.
func (d *desk) joining(c *client, channel string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Join(channel, WatchList, "") }()
	<-d.questions
	return done
}

func TestClassifierIsAskedOncePerActivation(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t, &Rules{Classifier: classifierFunc(func(string) (Class, error) {
		asked.Add(1)
		return Class{Kind: Anonymous}, nil
	})})
	first, second := w.connect(""), w.connect("a")
	steps := []struct {
		name string
		do   func()
		want int32
	}{
		{"the first listener activates", func() { first.join("room", WatchNone) }, 1},
		{"joining again", func() { first.join("room", WatchList) }, 1},
		{"a second listener", func() { second.join("room", WatchList) }, 1},
		{"one of two leaves and returns", func() { second.leave("room"); second.join("room", WatchNone) }, 1},
		{"listings", func() { w.host().Channels(PerConnection); w.host().Channel("room", PerUser) }, 1},
		{"authenticate", func() { first.authenticate("b") }, 1},
		{"the last one leaves", func() { first.leave("room"); second.leave("room") }, 1},
		{"active again", func() { second.join("room", WatchNone) }, 2},
		{"a reserved name", func() { _ = second.Join("tab|x", WatchNone, "") }, 2},
		{"a bad name", func() { _ = second.Join("", WatchNone, "") }, 2},
	}
	for _, step := range steps {
		step.do()
		if got := asked.Load(); got != step.want {
			t.Fatalf("%s: asked %d times, want %d", step.name, got, step.want)
		}
	}
}

func TestClassifierErrorRefusesAndLeavesNothing(t *testing.T) {
	reason := errors.New("plugin trapped")
	fail := true
	w := newWorld(t, &Rules{Classifier: classifierFunc(func(string) (Class, error) {
		if fail {
			return Class{Kind: Anonymous}, reason
		}
		return Class{Kind: Anonymous}, nil
	})})
	c := w.connect("a")
	err := c.Join("room", WatchList, "")
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, reason) {
		t.Errorf("got %v, want ErrUnavailable around the reason", err)
	}
	c.hears()
	if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if err := c.Leave("room", ""); !errors.Is(err, ErrNotJoined) {
		t.Errorf("leave: %v", err)
	}

	fail = false
	c.join("room", WatchList)
	c.hears("joined room anonymous seq=0 count=1")
}

// The lock is not held while a classifier runs, so it may use the package and may be slow.
func TestClassifierMayUseTheHost(t *testing.T) {
	var w *world
	w = newWorld(t, &Rules{Classifier: classifierFunc(func(channel string) (Class, error) {
		h := w.reg.Host(w.name)
		if h.Stats().Conns == 0 {
			return Class{}, errors.New("no connection")
		}
		h.Channels(PerUser)
		return Patterns{}.Classify(w.name, channel)
	})})
	c := w.connect("a")
	c.join("room", WatchNone)
	w.host().SetRules(&Rules{Classifier: w.rules.Classifier})
	wantLines(t, w.channels(PerUser), "room [a]")
}

func TestPanickingClassifierDoesNotWedgeTheHost(t *testing.T) {
	broken := true
	w := newWorld(t, &Rules{Classifier: classifierFunc(func(string) (Class, error) {
		if broken {
			panic("classifier")
		}
		return Class{Kind: Anonymous}, nil
	})})
	c := w.connect("a")
	panics := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	if v := panics(func() { _ = c.Join("room", WatchNone, "") }); v != "classifier" {
		t.Fatalf("recovered %v", v)
	}
	if got := w.host().Stats(); got.Conns != 1 || got.Channels != 0 {
		t.Errorf("stats %+v", got)
	}
	broken = false
	c.join("room", WatchNone)

	broken = true
	if v := panics(func() { w.host().SetRules(&Rules{Classifier: w.rules.Classifier}) }); v != "classifier" {
		t.Fatalf("recovered %v", v)
	}
	wantLines(t, w.channels(PerUser), "room 1")
	c.Close()
}

func TestTwoActivateTheSameChannelAtOnce(t *testing.T) {
	d := newDesk()
	w := newWorld(t, &Rules{Classifier: d})
	first, second := w.connect("a"), w.connect("b")
	one, two := d.joining(first, "room"), d.joining(second, "room")
	for range 2 {
		d.answers <- verdict{class: Class{Kind: Authenticated}}
	}
	for _, done := range []<-chan error{one, two} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	wantLines(t, w.channels(PerConnection), "room [a b]")
}

// The channel is active by then, so a failure to classify it again does not matter.
func TestSecondActivationThatFailsJoinsWhatIsActive(t *testing.T) {
	d := newDesk()
	w := newWorld(t, &Rules{Classifier: d})
	first, second := w.connect("a"), w.connect("b")
	one, two := d.joining(first, "room"), d.joining(second, "room")
	d.answers <- verdict{class: Class{Kind: Authenticated}}
	var err error
	select { // either question got the answer
	case err = <-one:
	case err = <-two:
	}
	if err != nil {
		t.Fatal(err)
	}
	d.answers <- verdict{err: errors.New("plugin trapped")}
	select {
	case err = <-one:
	case err = <-two:
	}
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, w.channels(PerConnection), "room [a b]")
}

func TestCloseWhileTheClassifierIsAsked(t *testing.T) {
	d := newDesk()
	w := newWorld(t, &Rules{Classifier: d})
	w.connect("b")
	c := w.connect("a")
	done := d.joining(c, "room")
	c.Close()
	d.answers <- verdict{class: Class{Kind: Authenticated}}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	c.hears()
	wantLines(t, w.channels(PerUser))
}

func TestAuthenticateWhileTheClassifierIsAsked(t *testing.T) {
	d := newDesk()
	w := newWorld(t, &Rules{Classifier: d})
	c := w.connect("")
	done := d.joining(c, "room")
	c.authenticate("a")
	d.answers <- verdict{class: Class{Kind: Authenticated}}
	if err := <-done; err != nil {
		t.Errorf("the login came in time: %v", err)
	}
	c.hears("joined room authenticated seq=0 count=1 [a]")
}

func TestChannelLimitHoldsForJoinsAtOnce(t *testing.T) {
	d := newDesk()
	w := newWorld(t, &Rules{Classifier: d, MaxChannels: 1})
	c := w.connect("a")
	one, two := d.joining(c, "one"), d.joining(c, "two")
	for range 2 {
		d.answers <- verdict{class: Class{Kind: Authenticated}}
	}
	failed := 0
	for _, err := range []error{<-one, <-two} {
		if errors.Is(err, ErrTooManyChannels) {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got := w.host().Stats().Channels; failed != 1 || got != 1 {
		t.Errorf("%d joins were refused and %d channels are active, want one each", failed, got)
	}
}

func TestManyJoinOneChannelAtOnce(t *testing.T) {
	w := newWorld(t, &Rules{})
	clients := make([]*client, 50)
	for i := range clients {
		clients[i] = w.connect("a")
	}
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if err := c.Join("room", WatchList, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantLines(t, w.channels(PerUser), "room [a]")
	if l, _ := w.host().Channel("room", PerConnection); len(l.Users) != len(clients) {
		t.Errorf("%d of %d listen", len(l.Users), len(clients))
	}
}
