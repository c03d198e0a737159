package presence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// painter is a Shower that shows users by their e-mail address: "up" in upper case, "hide" not at
// all, "fail" not at all by a failure, "pass" as it is after a failure.
type painter struct {
	version string
	gate    chan struct{} // if not nil, each call takes one element

	mu    sync.Mutex
	calls []string
	fine  bool // nothing fails
}

func (p *painter) Version() string { return p.version }

func (p *painter) Show(_ HostName, users []User) []Shown {
	p.mu.Lock()
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	p.calls = append(p.calls, strings.Join(ids, " "))
	failing := false // a failure concerns all users of a call
	for _, u := range users {
		failing = failing || !p.fine && (u.Email == "fail" || u.Email == "pass")
	}
	p.mu.Unlock()
	if p.gate != nil {
		<-p.gate
	}
	shown := make([]Shown, len(users))
	for i, u := range users {
		id := u.ID
		if u.Email == "up" {
			id = strings.ToUpper(u.ID)
		}
		if u.Email != "hide" && (!failing || u.Email == "pass") {
			shown[i] = Shown{ID: id, Record: "shown" + p.version + u.Status, Sender: "from " + id}
		}
		shown[i].Failed = failing
	}
	return shown
}

// called returns the calls since the last time, each as the IDs.
func (p *painter) called() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

// wantCalls checks the calls since the last time.
func (p *painter) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	if got := p.called(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestAUserIsNamedWhenTheShowerHasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &painter{gate: make(chan struct{})}
		w := newWorld(t, &Rules{Shower: p})
		a := w.connect("a<up>")
		a.join("room", WatchList)
		if err := a.Send([]string{"room"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.hears("joined room authenticated seq=0 count=1 []", "message room : {}")
		p.gate <- struct{}{}
		synctest.Wait()
		a.hears("presence room seq=1 count=1 +A<shown>")
		if err := a.Send([]string{"room"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.hears("message room from A: {}")

		second := w.connect("a<up>") // nothing new about the user
		second.join("room", WatchList)
		synctest.Wait()
		second.hears("joined room authenticated seq=1 count=1 [A<shown>]")
		p.wantCalls(t, "a")

		a.authenticate("a<other>")
		synctest.Wait()
		a.hears() // as before, until there is a decision about the other address
		p.gate <- struct{}{}
		synctest.Wait()
		a.hears("presence room seq=2 count=1 +a<shown> -A<shown>")
	})
}

func TestAHiddenUserCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Shower: new(painter), Grace: time.Minute})
		a, b := w.connect("a<hide>"), w.connect("b")
		b.join("room", WatchList)
		synctest.Wait()
		forget(b)
		a.join("room", WatchList)
		synctest.Wait()
		b.hears("presence room seq=2 count=2")
		a.hears("joined room authenticated seq=2 count=2 [b<shown>]")
		if err := a.Send([]string{"room"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.hears("message room : {}")
		a.leave("room")
		b.hears("presence room seq=3 count=1")
	})
}

func TestLeftHasTheIDThatJoinedHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(painter)
		w := newWorld(t, &Rules{Shower: p})
		b := w.connect("b")
		a := w.connect("a<up>")
		synctest.Wait() // the decisions about both are there before any frame
		b.join("room", WatchList)
		a.join("room", WatchNone)
		forget(b)
		a.authenticate("a<hide>")
		synctest.Wait()
		b.hears("presence room seq=2 count=2 -A<shown>")
		a.leave("room") // a user that no frame has named
		b.hears("presence room seq=3 count=1")
		a.authenticate("a<up>")
		synctest.Wait()
		a.join("room", WatchNone)
		forget(b)
		a.Close()
		b.hears("presence room seq=5 count=1 -A<shown>")
	})
}

func TestAFailedDecisionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &painter{gate: make(chan struct{}, 100)}
		w := newWorld(t, &Rules{Shower: p})
		b := w.connect("b")
		b.join("room", WatchList)
		p.gate <- struct{}{}
		synctest.Wait()
		forget(b)
		for _, user := range []string{"c", "a<fail>", "d", "e<pass>", "f"} { // the call for c waits, so the others are a batch
			w.connect(user).join("room", WatchNone)
			synctest.Wait()
		}
		forget(b)
		p.called()
		p.gate <- struct{}{}
		p.gate <- struct{}{}
		synctest.Wait()
		b.hears("presence room seq=7 count=6 +c<shown>", "presence room seq=8 count=6 +e<shown>")
		p.wantCalls(t, "a d e f")

		time.Sleep(showAgain - time.Millisecond)
		synctest.Wait()
		p.wantCalls(t)
		for range 4 {
			p.gate <- struct{}{}
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		p.wantCalls(t, "a", "d", "e", "f")
		b.hears("presence room seq=9 count=6 +d<shown>", "presence room seq=10 count=6 +f<shown>")

		p.mu.Lock()
		p.fine = true
		p.mu.Unlock()
		for range 2 {
			p.gate <- struct{}{}
		}
		time.Sleep(showAgain)
		synctest.Wait()
		p.wantCalls(t, "a", "e")
		b.hears("presence room seq=11 count=6 +a<shown>")
		time.Sleep(time.Minute)
		synctest.Wait()
		p.wantCalls(t)
	})
}

func TestTheShowerIsAskedAgainWithAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, same, two := &painter{version: "1"}, &painter{version: "1"}, &painter{version: "2"}
		w := newWorld(t, &Rules{Shower: one})
		a, b := w.connect("a"), w.connect("b<up>")
		a.join("room", WatchList)
		b.join("room", WatchNone)
		synctest.Wait()
		seq := len(a.heard()) - 1 // what is shown of a is in the answer to its join, or comes after it
		w.host().SetRules(&Rules{Shower: same})
		synctest.Wait()
		same.wantCalls(t)
		a.hears()

		w.host().SetRules(&Rules{Shower: two})
		synctest.Wait()
		two.wantCalls(t, "a b")
		a.hears(fmt.Sprintf("presence room seq=%d count=2 ~B<shown2> ~a<shown2>", seq+1))

		w.host().SetRules(&Rules{})
		synctest.Wait()
		a.hears(fmt.Sprintf("presence room seq=%d count=2 +b<up> -B<shown2> ~a", seq+2))
		w.host().SetRules(&Rules{Shower: two})
		synctest.Wait()
		a.hears(fmt.Sprintf("presence room seq=%d count=2 +B<shown2> -b<up> ~a<shown2>", seq+3))
	})
}

func TestAUserWhoComesBackIsNotAskedAboutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(painter)
		w := newWorld(t, &Rules{Shower: p, Grace: time.Minute})
		a, b := w.connect("a<up>"), w.connect("b")
		b.join("room", WatchList)
		a.join("room", WatchNone)
		synctest.Wait()
		forget(b)
		p.called()
		a.Close()
		b.hears()
		w.connect("a<up>").join("room", WatchNone)
		synctest.Wait()
		b.hears()
		p.wantCalls(t)
	})
}

// A crowd neither holds the lock while the Shower works, nor causes more than one call at a time.
func TestTheShowerIsAskedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 10_000
		p := &painter{gate: make(chan struct{})}
		w := newWorld(t, &Rules{Shower: p})
		watcher := w.connect("")
		for i := range users {
			w.connect(fmt.Sprintf("u%d", i)).join("room", WatchNone)
		}
		synctest.Wait()
		if got := w.host().Stats().Users; got != users {
			t.Errorf("%d users", got)
		}
		if got := len(p.called()); got != 1 {
			t.Errorf("%d calls at a time", got)
		}
		calls := 0
		for p.gate <- struct{}{}; calls < users; calls++ {
			synctest.Wait()
			list := p.called()
			if len(list) == 0 {
				break
			}
			if n := len(strings.Fields(list[0])); len(list) != 1 || n > showBatch {
				t.Fatalf("%d calls, for %d users", len(list), n)
			}
			p.gate <- struct{}{}
		}
		if calls > users/showBatch+2 {
			t.Errorf("%d calls", calls)
		}
		watcher.authenticate("b")
		watcher.join("room", WatchCount)
		watcher.hears("joined room authenticated seq=0 count=10001")
		close(p.gate)
		synctest.Wait()
	})
}

// The bounds of changed statuses hold for what plugins show, too. Hiding a user never waits.
func TestStatusesThatAShowerShowsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Shower: new(painter)})
		watcher := w.connect("w")
		watcher.join("room", WatchList)
		clients := make([]*client, 300)
		for i := range clients {
			clients[i] = w.connect(fmt.Sprintf("u%d", i))
			clients[i].join("room", WatchNone)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		forget(watcher)
		status := strings.Repeat("s", MaxStatus)
		for _, c := range clients {
			if err := c.SetStatus(status); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := strings.Count(strings.Join(watcher.heard(), ""), status); got == 0 || got*MaxStatus > maxStatusBytes {
			t.Errorf("%d statuses at once", got)
		}
		clients[299].authenticate("u299<hide>")
		synctest.Wait()
		if got := strings.Join(watcher.heard(), ""); !strings.Contains(got, "-u299<") || strings.Contains(got, "~") {
			t.Errorf("after the user is hidden: %.200s", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := strings.Count(strings.Join(watcher.heard(), ""), "~"); got < 150 {
			t.Errorf("%d statuses later", got)
		}
	})
}

// A login that says nothing new of a user causes no call.
func TestTheShowerIsAskedOnceAboutARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(painter)
		w := newWorld(t, &Rules{Shower: p})
		for range 3 {
			if _, err := w.reg.Connect(w.name, w.rules, &User{ID: "a", Info: `{"n":1}`}, &inbox{tape: w.tape}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		p.wantCalls(t, "a")
	})
}

// After a reload that hides the e-mail address, no frame has what was shown before.
func TestAFieldThatIsHiddenIsNotShownAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := &painter{version: "2", gate: make(chan struct{})}
		w := newWorld(t, &Rules{Shower: &painter{version: "1"}})
		a, b := w.connect("a"), w.connect("b")
		a.join("room", WatchList)
		synctest.Wait()
		forget(a)
		w.host().SetRules(&Rules{Shower: two, Hide: FieldEmail})
		b.join("room", WatchList)
		if err := a.Send([]string{"room"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.hears("joined room authenticated seq=3 count=2 []", "message room : {}")
		close(two.gate)
		synctest.Wait()
		b.hears("presence room seq=4 count=2 +a<shown2> +b<shown2>")
	})
}

// The rules hold from the moment that they are in effect, before [Host.Reclassify] has run.
func TestAHiddenFieldIsInNoFrameBeforeReclassify(t *testing.T) {
	for name, shower := range map[string]Shower{"native": nil, "plugins": &painter{version: "1"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &Rules{Shower: shower})
			a := w.connect("a<a@x>")
			a.join("room", WatchList)
			synctest.Wait()
			h := w.host()
			h.useRules(&Rules{Shower: shower, Hide: FieldEmail})
			forget(a)
			b := w.connect("b")
			b.join("room", WatchList)
			if err := a.Send([]string{"room"}, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, frame := range b.in.take() {
				switch v := w.tape.get(frame).(type) {
				case Joined:
					if members := w.tape.members(v); shower != nil && len(members) > 0 {
						t.Errorf("%s: members %v", name, members)
					}
				case Diff:
					if v.Hide&FieldEmail == 0 {
						t.Errorf("%s: %+v", name, v)
					}
				case sent:
					if shower != nil && v.from != "" {
						t.Errorf("%s: from %s", name, v.from)
					}
				}
			}
			if h.hide&FieldEmail == 0 {
				t.Errorf("%s: the field is not hidden", name)
			}
		})
	}
}

// Pods show what the pod of the connection has decided.
func TestOtherPodsShowTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(painter)
		w, other := newWorld(t, &Rules{Shower: p}), newWorld(t, &Rules{Shower: p})
		w.reg.Pods().SetRelay(quiet{})
		other.reg.Pods().SetRelay(quiet{})
		a, b := w.connect("a<up>"), other.connect("b")
		synctest.Wait() // b is shown in its snapshot, not in a frame after it
		a.join("room", WatchNone)
		b.join("room", WatchList)
		other.reg.Pods().Ready(other.name, "room")
		synctest.Wait()
		forget(b)
		pass := func() {
			t.Helper()
			d, _ := w.reg.Pods().Changes(w.name, "room")
			if got := other.reg.Pods().MergeDelta(other.name, "room", "w", d); got != Merged {
				t.Fatalf("merge: %v", got)
			}
			synctest.Wait()
		}
		pass()
		b.hears("presence room seq=1 count=2 +A<shown>")
		a.authenticate("a<hide>")
		synctest.Wait()
		pass()
		b.hears("presence room seq=2 count=2 -A<shown>")

		// The later decision of two pods applies.
		time.Sleep(time.Second)
		other.connect("a<up>").join("room", WatchNone)
		synctest.Wait()
		b.hears("presence room seq=3 count=2 +A<shown>")
		time.Sleep(time.Second)
		a.authenticate("a<hide>")
		a.authenticate("a<x>")
		synctest.Wait()
		pass()
		b.hears("presence room seq=4 count=2 +a<shown> -A<shown>")
		calls := p.called()
		slices.Sort(calls)
		if want := []string{"a", "a", "a", "a", "b"}; !slices.Equal(calls, want) {
			t.Errorf("calls %q", calls)
		}
	})
}

// quiet is a Relay that does nothing.
type quiet struct{}

func (quiet) Clock() uint64                { return uint64(time.Now().UnixMilli()) }
func (quiet) Opened(HostName)              {}
func (quiet) Closed(HostName)              {}
func (quiet) Informed(HostName)            {}
func (quiet) Send(HostName, Message) error { return nil }
func (quiet) Changed(HostName, string)     {}
func (quiet) Watched(HostName, string)     {}
func (quiet) Unwatched(HostName, string)   {}

// Without a Shower, nothing is kept for it.
func TestWithoutAShowerThereIsNothing(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("a<up>").join("room", WatchList)
	h := w.host()
	if h.showing != nil || h.users["a"].shown != nil || h.channels["room"].seen != nil {
		t.Errorf("got %v", slices.Collect(maps.Keys(h.channels)))
	}
}
