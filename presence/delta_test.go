package presence

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mute is the part of a Relay that sends messages. It sends none.
type mute struct{}

func (mute) Clock() uint64 { return uint64(time.Now().UnixMilli()) }

func (mute) Opened(HostName)              {}
func (mute) Closed(HostName)              {}
func (mute) Informed(HostName)            {}
func (mute) Send(HostName, Message) error { return nil }

// notes is a Relay that records its calls about channels.
type notes struct {
	mute
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(what, channel string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, what+" "+channel)
}

func (n *notes) Changed(_ HostName, channel string)   { n.add("changed", channel) }
func (n *notes) Watched(_ HostName, channel string)   { n.add("watched", channel) }
func (n *notes) Unwatched(_ HostName, channel string) { n.add("unwatched", channel) }

// wants compares the calls since the last wants.
func (n *notes) wants(t testing.TB, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.lines, want) {
		t.Errorf("calls of the relay:\n  got  %q\n  want %q", n.lines, want)
	}
	n.lines = nil
}

// newRelayed returns a world with a relay.
func newRelayed(t testing.TB, rules *Rules) (*world, *notes) {
	t.Helper()
	w, relay := newWorld(t, rules), new(notes)
	w.reg.Pods().SetRelay(relay)
	return w, relay
}

// deltaText formats a delta as "full +a<a@x> -b -c? conns=1 lost=1". '?' marks a lost user.
func deltaText(d Delta) string {
	var words []string
	for _, m := range d.Joined {
		words = append(words, "+"+userTexts([]User{m.User})[0])
	}
	for _, gone := range d.Left {
		word := "-" + gone.ID
		if gone.Lost {
			word += "?"
		}
		words = append(words, word)
	}
	slices.Sort(words)
	if d.Base == 0 {
		words = slices.Insert(words, 0, "full")
	}
	words = append(words, fmt.Sprintf("conns=%d", d.Conns))
	if d.Lost > 0 {
		words = append(words, fmt.Sprintf("lost=%d", d.Lost))
	}
	return strings.Join(words, " ")
}

// changes returns the changes of the room as text, or "".
func (w *world) changes() string {
	if d, ok := w.reg.Pods().Changes(w.name, "room"); ok {
		return deltaText(d)
	}
	return ""
}

func TestChangesSinceTheLastCall(t *testing.T) {
	// In each case, a is logged in and in the room, and b is logged in. Earlier changes have been
	// fetched.
	tests := []struct {
		name string
		do   func(w *world, a, b *client)
		want string
	}{
		{"nothing", func(*world, *client, *client) {}, ""},
		{"a user joins", func(_ *world, _, b *client) { b.join("room", WatchNone) }, "+b<b@x> conns=2"},
		{"a second connection", func(w *world, _, _ *client) { w.connect("a").join("room", WatchNone) }, "conns=2"},
		{"a user joins again", func(_ *world, a, _ *client) { a.join("room", WatchNone) }, ""},
		{"a user leaves", func(_ *world, a, b *client) {
			b.join("room", WatchNone)
			a.leave("room")
		}, "+b<b@x> -a conns=1"},
		{"a user is lost", func(_ *world, a, b *client) {
			b.join("room", WatchNone)
			a.Close()
		}, "+b<b@x> -a? conns=1 lost=1"},
		{"a user is lost and back", func(w *world, a, b *client) {
			b.join("room", WatchNone)
			a.Close()
			w.connect("a").join("room", WatchNone)
		}, "+a +b<b@x> conns=2 lost=1"},
		{"a user is lost, back, and leaves", func(w *world, a, b *client) {
			b.join("room", WatchNone)
			a.Close()
			c := w.connect("a")
			c.join("room", WatchNone)
			c.leave("room")
		}, "+b<b@x> -a conns=1 lost=1"},
		{"a user comes and goes", func(_ *world, _, b *client) {
			b.join("room", WatchNone)
			b.leave("room")
		}, "-b conns=1"},
		{"another user", func(_ *world, a, _ *client) { a.authenticate("c") }, "+c -a conns=1"},
		{"another e-mail", func(w *world, _, _ *client) { w.connect("a<new@x>") }, "+a<new@x> conns=1"},
		{"the same e-mail, which is the latest now", func(w *world, _, _ *client) { w.connect("a<a@x>") }, "+a<a@x> conns=1"},
		{"no e-mail", func(w *world, _, _ *client) { w.connect("a") }, ""},
		{"an e-mail of someone who is elsewhere", func(w *world, _, _ *client) { w.connect("b<new@x>") }, ""},
		{"the last one leaves", func(_ *world, a, _ *client) { a.leave("room") }, "-a conns=0"},
		{"the last one is lost", func(_ *world, a, _ *client) { a.Close() }, "-a? conns=0 lost=1"},
		{"the host is lost", func(_ *world, a, b *client) { a.Close(); b.Close() }, "-a? conns=0 lost=1"},
		{"the last one is closed with the host", func(w *world, a, b *client) {
			w.host().Retire()
			b.Close()
			a.Close()
		}, "-a conns=0"},
		{"closed after the host was back", func(w *world, a, _ *client) {
			w.host().Retire()
			w.host().SetRules(&Rules{})
			a.Close()
		}, "-a? conns=0 lost=1"},
		{"the last one is lost, and the host comes back", func(w *world, a, b *client) {
			a.Close()
			b.Close()
			w.connect("c").join("room", WatchNone)
		}, "full +c -a? conns=1 lost=1"},
		{"all go and come back", func(_ *world, a, _ *client) {
			a.leave("room")
			a.join("room", WatchNone)
		}, "full +a<a@x> conns=1"},
		{"the channel becomes anonymous", func(w *world, _, _ *client) {
			w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous}}))
		}, "-a conns=1"},
		{"the channel becomes anonymous and back", func(w *world, _, _ *client) {
			w.host().SetRules(rulesOf(classes{"room": {Kind: Anonymous}}))
			w.host().SetRules(rulesOf(classes{}))
		}, "+a<a@x> conns=1"},
		{"denied", func(w *world, _, _ *client) {
			w.host().SetRules(rulesOf(classes{"room": {Denied: true}}))
		}, "-a conns=0"},
		{"more than is taken note of", func(w *world, _, b *client) {
			for i := range maxChanges + 1 {
				b.authenticate(fmt.Sprint(i))
				b.join("room", WatchNone)
				b.leave("room")
			}
		}, "full +a<a@x> -1024 conns=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, relay := newRelayed(t, &Rules{})
			a, b := w.connect("a<a@x>"), w.connect("b<b@x>")
			a.join("room", WatchNone)
			if got := w.changes(); got != "full +a<a@x> conns=1" {
				t.Errorf("the first is %q", got)
			}
			relay.wants(t, "changed room")
			before := w.reg.Pods().State(w.name, "room").Clock
			tt.do(w, a, b)
			if tt.want == "" {
				relay.wants(t)
			} else {
				relay.wants(t, "changed room")
			}
			d, ok := w.reg.Pods().Changes(w.name, "room")
			if got := deltaText(d); ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("changes %q, want %q", got, tt.want)
			}
			if ok && (d.Clock <= before || d.Base != 0 && d.Base != before) {
				t.Errorf("clock %d after %d, base %d", d.Clock, before, d.Base)
			}
			if got := w.changes(); got != "" {
				t.Errorf("and once more: %q", got)
			}
		})
	}
}

func TestChangesOfAnonymousChannelsAreNumbers(t *testing.T) {
	w, _ := newRelayed(t, &Rules{})
	a, b := w.connect("a"), w.connect("")
	for _, c := range []*client{a, b} {
		c.join("anonymous", WatchNone)
	}
	b.Close()
	a.authenticate("c<c@x>")
	if d, ok := w.reg.Pods().Changes(w.name, "anonymous"); !ok || deltaText(d) != "full conns=1 lost=1" {
		t.Errorf("changes %q, %v", deltaText(d), ok)
	}
}

func TestStatePrecedesChanges(t *testing.T) {
	w, _ := newRelayed(t, &Rules{})
	state := func(want string) uint64 {
		t.Helper()
		d := w.reg.Pods().State(w.name, "room")
		for _, known := range []uint64{0, 1, d.Clock} {
			after, ok := w.reg.Pods().StateAfter(w.name, "room", known)
			if news := known != d.Clock && (known != 0 || d.Conns > 0); ok != news || ok && deltaText(after) != deltaText(d) {
				t.Errorf("state after %d: %+v, %v; want %+v, %v", known, after, ok, d, news)
			}
		}
		if got := deltaText(d); got != "full "+want {
			t.Errorf("state %q, want %q", got, want)
		}
		return d.Clock
	}
	changes := func(base uint64) uint64 {
		t.Helper()
		d, ok := w.reg.Pods().Changes(w.name, "room")
		if !ok || d.Base != base {
			t.Errorf("changes %+v, %v; want base %d", d, ok, base)
		}
		// All channels share the clock.
		z := w.connect("z")
		z.join("other", WatchNone)
		if other, ok := w.reg.Pods().Changes(w.name, "other"); !ok || other.Clock <= d.Clock {
			t.Errorf("clock %d of another channel after %d", other.Clock, d.Clock)
		}
		z.Close()
		return d.Clock
	}
	none := state("conns=0")
	a := w.connect("a<a@x>")
	if clock := state("conns=0"); clock != none || clock == 0 {
		t.Errorf("clocks %d and %d of an empty part", none, clock)
	}
	a.join("room", WatchNone)
	fresh := state("+a<a@x> conns=1")
	first := changes(0)
	if fresh == 0 || fresh >= first {
		t.Errorf("clock %d before the first delta, which has %d", fresh, first)
	}
	w.connect("b").join("room", WatchNone)
	if clock := state("+a<a@x> +b conns=2"); clock != first {
		t.Errorf("clock %d, want %d of the last delta", clock, first)
	}
	second := changes(first)
	for _, c := range slices.Clone(w.host().conns) {
		c.Close()
	}
	if clock := state("conns=0"); clock != second {
		t.Errorf("clock %d with last changes, want %d", clock, second)
	}
	third := changes(second)
	if clock := state("conns=0"); clock < third {
		t.Errorf("clock %d without a channel, which had %d", clock, third)
	}
}

func TestStateWithoutARelay(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("a").join("room", WatchNone)
	if d := w.reg.Pods().State(w.name, "room"); deltaText(d) != "full +a conns=1" || d.Clock == 0 {
		t.Errorf("state %+v", d)
	}
	if got := w.changes(); got != "" {
		t.Errorf("changes %q", got)
	}
}

func TestLearnedLaterIsSeenLater(t *testing.T) {
	w := newWorld(t, &Rules{})
	var last int64
	for i, email := range []string{"1@x", "2@x", "1@x", "1@x", "3@x"} {
		w.connect("a<" + email + ">")
		members, _ := w.reg.Pods().Members(w.host().Name(), PerUser)
		if got := members[0]; got.Email != email || got.Seen < last || got.Seen == last && i != 3 {
			t.Errorf("%d: %+v after %d", i, got, last)
		}
		last = members[0].Seen
	}
	for _, c := range slices.Clone(w.host().conns) {
		c.Close()
	}
	w.connect("a")
	if members, _ := w.reg.Pods().Members(w.host().Name(), PerConnection); members[0] != (Member{User: User{ID: "a"}}) {
		t.Errorf("%+v without an address", members[0])
	}
}
