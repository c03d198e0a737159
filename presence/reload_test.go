package presence

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// rulesOf returns rules with a table as classifier.
func rulesOf(cs classes) *Rules { return &Rules{Classifier: cs} }

func TestReloadReclassifiesActiveChannels(t *testing.T) {
	open, staff := Class{Kind: Anonymous}, Class{Kind: Authenticated}
	counted := Class{Kind: Authenticated, CountOnly: true}
	hidden := Class{Kind: Authenticated, Hidden: true}
	tests := []struct {
		name          string
		before, after Class
		// Frames that a logged-in and an anonymous watcher of the room receive. Both have joined
		// before; the second one only if the channel was anonymous.
		user, anonymous []string
		listing         []string
	}{
		{"nothing changes", staff, staff, nil, nil, []string{"room [a b]"}},
		{
			"authenticated to anonymous", staff, open,
			[]string{"presence room seq=1 count=2 kind=anonymous -a -b"},
			nil,
			[]string{"room 2"},
		},
		{
			"anonymous to authenticated takes the anonymous out", open, staff,
			[]string{"presence room seq=1 count=2 kind=authenticated +a +b"},
			[]string{"left room (denied)"},
			[]string{"room [a b]"},
		},
		{
			"authenticated to denied", staff,
			Class{Kind: Authenticated, Denied: true},
			[]string{"left room (denied)"},
			nil, nil,
		},
		{
			"anonymous to denied", open,
			Class{Kind: Anonymous, Denied: true},
			[]string{"left room (denied)"},
			[]string{"left room (denied)"},
			nil,
		},
		{
			"authenticated to denied without a kind", staff,
			Class{Denied: true},
			[]string{"left room (denied)"},
			nil, nil,
		},
		{
			"names to count only", staff, counted,
			[]string{"presence room seq=1 count=2 -a -b"},
			nil,
			[]string{"room 2"},
		},
		{
			"count only to names", counted, staff,
			[]string{"presence room seq=1 count=2 +a +b"},
			nil,
			[]string{"room [a b]"},
		},
		{"listed to hidden", staff, hidden, nil, nil, nil},
		{"hidden to listed", hidden, staff, nil, nil, []string{"room [a b]"}},
		{
			"hidden and authenticated to anonymous", hidden, open,
			[]string{"presence room seq=1 count=2 kind=anonymous -a -b"},
			nil,
			[]string{"room 2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rulesOf(classes{"room": tt.before}))
			anonymous, b, a := w.connect(""), w.connect("b"), w.connect("a")
			if tt.before.Kind == Anonymous {
				anonymous.join("room", WatchList)
			}
			b.join("room", WatchNone)
			a.join("room", WatchList)
			w.host().channels["room"].seq = 0 // compare sequence numbers from here on
			forget(anonymous, a, b)

			w.host().SetRules(rulesOf(classes{"room": tt.after}))
			if got := a.heard(); !slices.Equal(got, tt.user) {
				t.Errorf("the user heard %q, want %q", got, tt.user)
			}
			if got := anonymous.heard(); !slices.Equal(got, tt.anonymous) {
				t.Errorf("the anonymous one heard %q, want %q", got, tt.anonymous)
			}
			wantLines(t, w.channels(PerUser), tt.listing...)

			// The connections that were removed receive nothing more; the others still receive
			// changes.
			if tt.anonymous != nil {
				if err := anonymous.Leave("room", ""); !errors.Is(err, ErrNotJoined) {
					t.Errorf("the anonymous one leaves: %v", err)
				}
			}
			if !tt.after.Denied {
				b.leave("room")
				if got := a.heard(); len(got) != 1 {
					t.Errorf("then another user left, and the user received %q", got)
				}
			}
		})
	}
}

func TestReloadSendsNothingWhenClassesStay(t *testing.T) {
	w := newWorld(t, &Rules{})
	c, anonymous := w.connect("a"), w.connect("")
	c.join("room", WatchList)
	c.join("anonymousChat", WatchList)
	anonymous.join("anonymousChat", WatchList)
	forget(c, anonymous)
	for range 50 {
		w.host().SetRules(&Rules{MaxChannels: 7})
	}
	c.hears()
	anonymous.hears()
	wantLines(t, w.channels(PerUser), "anonymousChat 2", "room [a]")
}

func TestReloadWithAFailingClassifierKeepsTheClass(t *testing.T) {
	w := newWorld(t, rulesOf(classes{"room": {Kind: Anonymous}}))
	anonymous := w.connect("")
	anonymous.join("room", WatchCount)
	forget(anonymous)
	failing := &Rules{Classifier: classifierFunc(func(string) (Class, error) {
		return Class{Kind: Authenticated}, errors.New("plugin trapped")
	})}
	w.host().SetRules(failing)
	anonymous.hears()
	w.connect("").join("room", WatchNone) // active, so it is not classified
	wantLines(t, w.channels(PerUser), "room 2")
	if err := anonymous.Join("other", WatchNone, ""); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a channel that is not active: %v", err)
	}
	w.host().SetRules(rulesOf(classes{"room": {Kind: Authenticated}}))
	wantLines(t, w.channels(PerUser))
}

func TestReloadChangesLimitsForLaterJoins(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	c.join("one", WatchNone)
	c.join("two", WatchNone)
	w.host().SetRules(&Rules{MaxChannels: 1, MaxName: 3, MaxConns: 1})
	wantLines(t, w.channels(PerUser), "one [a]", "two [a]")
	c.join("two", WatchList)
	if err := c.Join("six", WatchNone, ""); !errors.Is(err, ErrTooManyChannels) {
		t.Errorf("another channel: %v", err)
	}
	if err := c.Join("three", WatchNone, ""); !errors.Is(err, ErrBadChannel) {
		t.Errorf("a longer name: %v", err)
	}
	if _, err := w.reg.Connect(w.name, &Rules{}, nil, &inbox{}); !errors.Is(err, errTooManyConns) {
		t.Errorf("another connection, with rules of its own: %v", err)
	}
}

func TestReloadWhileAJoinIsInFlight(t *testing.T) {
	before, after := newDesk(), newDesk()
	w := newWorld(t, &Rules{Classifier: before})
	c := w.connect("")
	done := before.joining(c, "room")
	w.host().SetRules(&Rules{Classifier: after}) // no channel is active, so none is classified
	before.answers <- verdict{class: Class{Kind: Anonymous}}
	if channel := <-after.questions; channel != "room" {
		t.Fatalf("the new classifier is asked about %q", channel)
	}
	if got := w.host().Stats().Channels; got != 0 {
		t.Errorf("%d channels are active meanwhile", got)
	}
	after.answers <- verdict{class: Class{Kind: Authenticated}}
	if err := <-done; !errors.Is(err, ErrLoginRequired) {
		t.Errorf("got %v, want what the new rules say", err)
	}
	c.hears()
	wantLines(t, w.channels(PerUser))
}

func TestReloadWhileAJoinIsInFlightMakesItsErrorMoot(t *testing.T) {
	before := newDesk()
	w := newWorld(t, &Rules{Classifier: before})
	c := w.connect("a")
	done := before.joining(c, "room")
	w.host().SetRules(&Rules{})
	before.answers <- verdict{err: errors.New("plugin was unloaded")}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.hears("joined room authenticated seq=0 count=1 [a]")
}

// A classifier that begins to decide differently has the same value, so its decision in progress
// must be repeated.
func TestRulesAreComparedByPointer(t *testing.T) {
	first, second := Class{Kind: Anonymous}, Class{Kind: Authenticated}
	tests := []struct {
		name  string
		rules func(rules *Rules) *Rules
		want  Class
	}{
		{"the same rules again", func(rules *Rules) *Rules { return rules }, first},
		{"equal rules at another address", func(rules *Rules) *Rules { other := *rules; return &other }, second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			rules := &Rules{Classifier: d}
			w := newWorld(t, rules)
			c := w.connect("a")
			done := d.joining(c, "room")
			w.host().SetRules(test.rules(rules))
			d.answers <- verdict{class: first}
			var err error
			select {
			case <-d.questions:
				d.answers <- verdict{class: second}
				err = <-done
			case err = <-done:
			}
			if err != nil {
				t.Fatal(err)
			}
			if kind, _ := w.host().KindOf("room"); kind != test.want.Kind {
				t.Errorf("the channel is %v, want %v", kind, test.want.Kind)
			}
		})
	}
}

func TestReloadOvertakenByAnother(t *testing.T) {
	slow := newDesk()
	w := newWorld(t, rulesOf(classes{"room": {Kind: Anonymous}}))
	c := w.connect("")
	c.join("room", WatchCount)
	forget(c)
	var wg sync.WaitGroup
	wg.Go(func() { w.host().SetRules(&Rules{Classifier: slow}) })
	<-slow.questions
	w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous, Hidden: true}}))
	slow.answers <- verdict{class: Class{Kind: Authenticated}} // too late to remove c
	wg.Wait()
	c.hears()
	if l := w.host().Channels(PerUser); len(l) != 1 {
		t.Errorf("listed: %+v, want the private channel alone", l)
	}
}

func TestReloadWhileAChannelGoesAndComesBack(t *testing.T) {
	slow := newDesk()
	w := newWorld(t, rulesOf(classes{}))
	c, other := w.connect("a"), w.connect("b")
	c.join("room", WatchNone)
	var wg sync.WaitGroup
	wg.Go(func() { w.host().SetRules(&Rules{Classifier: slow}) })
	<-slow.questions
	c.leave("room")
	slow.answers <- verdict{class: Class{Kind: Anonymous}}
	wg.Wait()
	done := slow.joining(other, "room")
	slow.answers <- verdict{class: Class{Kind: Anonymous}}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantLines(t, w.channels(PerUser), "room 1")
}

// Connections that are removed together do not see each other leave, which would cost a frame for
// every pair.
func TestReloadThatDeniesACrowdCostsAFrameEach(t *testing.T) {
	w := newWorld(t, rulesOf(classes{}))
	crowd := make([]*client, 90)
	for i := range crowd {
		crowd[i] = w.connect(strconv.Itoa(i))
		crowd[i].join("room", WatchList)
	}
	forget(crowd...)
	w.host().SetRules(rulesOf(classes{"room": {Denied: true}}))
	for _, c := range crowd {
		if lines := c.heard(); len(lines) != 1 || lines[0] != "left room (denied)" {
			t.Fatalf("one heard %d frames, want its own leaving alone", len(lines))
		}
	}
}

// An anonymous connection must not learn the members while it is removed.
func TestReloadHidesMembersFromRemovedConnections(t *testing.T) {
	w := newWorld(t, rulesOf(classes{"room": {Kind: Anonymous}}))
	clients := []*client{w.connect(""), w.connect("a<a@x>"), w.connect(""), w.connect("b<b@x>"), w.connect("")}
	for _, c := range clients {
		c.join("room", WatchList)
	}
	forget(clients...)
	w.host().SetRules(rulesOf(classes{"room": {Kind: Authenticated}}))
	for _, c := range clients {
		if u, ok := c.User(); !ok {
			c.hears("left room (denied)")
		} else if lines := c.heard(); len(lines) != 1 || !strings.HasSuffix(lines[0], "count=2 kind=authenticated +a<a@x> +b<b@x>") {
			t.Errorf("%s heard %q", u.ID, lines)
		}
	}
}

// The kind is sent once, even if nothing else changes. Later joins have it in the answer.
func TestWatchersReceiveAnotherKind(t *testing.T) {
	w := newWorld(t, rulesOf(classes{"room": {Kind: Authenticated}}))
	set := func(class Class) { w.host().SetRules(rulesOf(classes{"room": class})) }
	lists, counts, listens, late := w.connect("a"), w.connect("b"), w.connect("c"), w.connect("d")
	listens.join("room", WatchNone)
	lists.join("room", WatchList)
	counts.join("room", WatchCount)
	forget(lists, counts, listens)

	set(Class{Kind: Authenticated, CountOnly: true}) // the same kind
	lists.hears("presence room seq=2 count=3 -a -b -c")
	set(Class{Kind: Anonymous}) // three anonymous connections before and after
	lists.hears("presence room seq=3 count=3 kind=anonymous")
	set(Class{Kind: Anonymous, Hidden: true})
	lists.hears()
	late.join("room", WatchCount)
	late.hears("joined room anonymous seq=4 count=4")
	lists.hears("presence room seq=4 count=4")
	set(Class{Kind: Authenticated, CountOnly: true})
	set(Class{Kind: Authenticated})
	late.hears("presence room seq=5 count=4 kind=authenticated", "presence room seq=6 count=4 +a +b +c +d")
	counts.hears("presence room seq=2 count=3 -a -b -c", "presence room seq=3 count=3 kind=anonymous", "presence room seq=4 count=4",
		"presence room seq=5 count=4 kind=authenticated", "presence room seq=6 count=4 +a +b +c +d")
	listens.hears()

	// The channel has no watcher when the kind changes.
	for _, c := range []*client{lists, counts, late} {
		c.leave("room")
	}
	set(Class{Kind: Anonymous})
	forget(late)
	late.join("room", WatchCount)
	w.connect("e").join("room", WatchNone)
	late.hears("joined room anonymous seq=8 count=2", "presence room seq=9 count=3")
}
