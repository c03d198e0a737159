package presence

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// status sets the status of the client's user, which must succeed.
func (c *client) status(text string) {
	c.t.Helper()
	if err := c.SetStatus(text); err != nil {
		c.t.Error(err)
	}
}

var numbers = regexp.MustCompile(`(seq|count)=\d+ `)

// tells checks the frames since the last time, without their numbers.
func (c *client) tells(want ...string) {
	c.t.Helper()
	got := c.heard()
	for i := range got {
		got[i] = numbers.ReplaceAllString(got[i], "")
	}
	wantLines(c.t, got, want...)
}

func TestSetStatusIsRefused(t *testing.T) {
	w := newWorld(t, &Rules{Hide: FieldStatus})
	ann, visitor, gone := w.connect("ann"), w.connect(""), w.connect("ann")
	gone.Close()
	for _, test := range []struct {
		c    *client
		want error
	}{{ann, ErrDenied}, {visitor, ErrLoginRequired}, {gone, ErrClosed}} {
		if err := test.c.SetStatus("{}"); !errors.Is(err, test.want) {
			t.Errorf("error %v, want %v", err, test.want)
		}
	}
}

func TestStatusBelongsToTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Authenticated})
		forget(watcher)
		first, second := w.connect("a"), w.connect("a")
		first.join("room", WatchNone)
		second.join("room", WatchNone)
		watcher.tells("presence room +a")
		first.status(`{"n":1}`)
		watcher.tells(`presence room ~a[{"n":1}]`)
		second.status(`{"n":2}`)
		second.status(`{"n":3}`)
		watcher.tells()
		pass(statusPause)
		watcher.tells(`presence room ~a[{"n":3}]`) // the latest of a second
		pass(statusPause)
		second.status("")
		watcher.tells("presence room ~a")
		pass(statusPause)
		first.status(`{"n":4}`)
		watcher.tells(`presence room ~a[{"n":4}]`)

		first.Close()
		second.Close()
		pass(testGrace / 2)
		back := w.connect("a")
		back.join("room", WatchNone)
		watcher.tells() // within the grace period, the user was not away
		joiner := w.connect("j")
		joiner.join("room", WatchList)
		joiner.tells(`joined room authenticated [a[{"n":4}] j w]`)
		watcher.tells("presence room +j")
		back.Close()
		pass(testGrace)
		w.connect("a").join("room", WatchNone)
		watcher.tells(`presence room -a[{"n":4}]`, "presence room +a") // a new one has no status
	})
}

func TestInfoIsThatOfTheLatestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Authenticated})
		forget(watcher)
		login := func(info string) *client {
			c := w.connect("")
			if err := c.Authenticate(User{ID: "a", Info: info}, nil); err != nil {
				t.Fatal(err)
			}
			c.join("room", WatchNone)
			return c
		}
		login(`{"v":1}`)
		watcher.tells(`presence room +a[{"v":1}]`)
		login("")
		watcher.tells() // it says nothing of the info
		login(`{"v":2}`)
		watcher.tells(`presence room ~a[{"v":2}]`)
		w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Authenticated}}, Hide: FieldInfo})
		watcher.tells("presence room ~a[{\"v\":2}] ~w") // the encoder hides it
		login(`{"v":3}`)
		watcher.tells()
	})
}

// Of changed statuses, a channel's frames have a bounded number of bytes in a second. All come in
// the end, and nothing else waits for them.
func TestStatusesOfAChannelAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Classifier: classes{"room": {Kind: Authenticated}}})
		watcher := w.connect("w")
		watcher.join("room", WatchList)
		long := `{"x":"` + strings.Repeat("x", MaxStatus-8) + `"}`
		const users = 3 * maxStatusBytes / MaxStatus
		var clients []*client
		for i := range users {
			c := w.connect(fmt.Sprint("u", i))
			c.join("room", WatchNone)
			clients = append(clients, c)
		}
		watcher.heard()
		begin := time.Now()
		for _, c := range clients {
			c.status(long)
		}
		synctest.Wait()
		stated := func() (n int) {
			for _, line := range watcher.heard() {
				n += strings.Count(line, " ~u")
			}
			return n
		}
		if got, want := stated(), maxStatusBytes/MaxStatus; got != want {
			t.Errorf("%d statuses at once, want %d", got, want)
		}
		w.connect("late").join("room", WatchNone)
		synctest.Wait()
		if got := watcher.heard(); len(got) != 1 || !strings.Contains(got[0], "+late") || time.Since(begin) > 0 {
			t.Errorf("after %v the watcher heard %q", time.Since(begin), got)
		}
		for second := range 2 {
			pass(statusWindow + maxFlushWait)
			if got, want := stated(), maxStatusBytes/MaxStatus; got != want {
				t.Errorf("second %d: %d statuses, want %d", second, got, want)
			}
		}
		pass(10 * statusWindow)
		if got := stated(); got != 0 {
			t.Errorf("%d statuses come again", got)
		}
	})
}

// Of the pods that have a user, the one that learned the info or the status last decides.
func TestLatestOfPodsIsShown(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(w *world, a *client)
		want []string
	}{
		{"set elsewhere", func(w *world, _ *client) { w.merge("p", detailed(5, "", `{"p":1}`, 1<<60), Merged) }, []string{`presence room ~a[{"p":1}]`}},
		{"set elsewhere, before", func(w *world, a *client) {
			a.status(`{"h":1}`)
			w.merge("p", detailed(5, "", `{"p":1}`, 1), Merged)
		}, []string{`presence room ~a[{"h":1}]`}},
		{"ended elsewhere", func(w *world, a *client) {
			a.status(`{"h":1}`)
			w.merge("p", detailed(5, "", "", 1<<60), Merged)
		}, []string{`presence room ~a[{"h":1}]`, "presence room ~a"}},
		{"an info and a status", func(w *world, _ *client) {
			w.merge("p", detailed(5, `{"i":1}`, "", 1<<60), Merged)
			w.merge("q", detailed(5, "", `{"s":1}`, 1<<60), Merged)
		}, []string{`presence room ~a[{"i":1}]`, `presence room ~a[{"i":1}{"s":1}]`}},
		{"it stays when the other pod loses the user", func(w *world, _ *client) {
			w.merge("p", detailed(5, "", `{"p":1}`, 1<<60), Merged)
			w.merge("p", whole(6, 0), Merged)
		}, []string{`presence room ~a[{"p":1}]`}},
		{"here after there", func(w *world, a *client) {
			w.merge("p", detailed(5, "", `{"p":1}`, 1<<60), Merged)
			a.status(`{"h":1}`)
		}, []string{`presence room ~a[{"p":1}]`, `presence room ~a[{"h":1}]`}},
		{"there while another waits here", func(w *world, a *client) {
			a.status(`{"h":1}`)
			a.status(`{"h":2}`)
			synctest.Wait()
			w.merge("p", detailed(5, "", `{"p":1}`, time.Now().UnixNano()+1e7), Merged)
			time.Sleep(2 * statusPause)
		}, []string{`presence room ~a[{"h":1}]`, `presence room ~a[{"p":1}]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher, _ := watching(t, rulesOf(classes{}))
				a := w.connect("a")
				a.join("room", WatchNone)
				watcher.tells("presence room +a")
				test.do(w, a)
				synctest.Wait()
				watcher.tells(test.want...)
			})
		})
	}
}

// What is learned of another pod is told on: a pod that knows this one alone learns it.
func TestLearnedStatusIsInTheNextDelta(t *testing.T) {
	w, _, _ := watching(t, rulesOf(classes{}))
	w.connect("a").join("room", WatchNone)
	w.reg.Pods().Changes(w.name, "room")
	w.merge("p", detailed(5, "", `{"p":1}`, 77), Merged)
	d, ok := w.reg.Pods().Changes(w.name, "room")
	if !ok || len(d.Joined) != 1 || d.Joined[0].Status != `{"p":1}` || d.Joined[0].StatusTime != 77 {
		t.Errorf("changes %+v, %v", d, ok)
	}
	w.merge("p", detailed(6, "", `{"p":1}`, 77), Merged)
	if d, ok := w.reg.Pods().Changes(w.name, "room"); ok {
		t.Errorf("the same again is a change: %+v", d)
	}
}

// detailed returns the part of a pod that has user a, with an info and a status that were set at
// the time; an info of "" was never set.
func detailed(clock uint64, info, status string, at int64) Delta {
	d := whole(clock, 1, "a")
	m := &d.Joined[0]
	m.Info, m.Status, m.StatusTime = info, status, at
	if info != "" {
		m.InfoTime, m.StatusTime = at, 0
	}
	return d
}
