package presence

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// detailText formats a detail as "a info=0 status=7{}", where texts follow the times of those that
// it has.
func detailText(d Detail) string {
	return fmt.Sprintf("%s info=%d%s status=%d%s", d.ID, d.InfoTime, d.Info, d.StatusTime, d.Status)
}

func detailTexts(list []Detail) []string {
	lines := make([]string, len(list))
	for i, d := range list {
		lines[i] = detailText(d)
	}
	slices.Sort(lines)
	return lines
}

// news returns what the pod tells others of users, as text, without the times.
func (w *world) news() []string {
	list, _, hello := w.reg.Pods().News(w.name)
	var lines []string
	for _, d := range list {
		line := d.ID
		for _, f := range []struct {
			with       Fields
			name, text string
			at         int64
		}{{FieldInfo, "info", d.Info, d.InfoTime}, {FieldStatus, "status", d.Status, d.StatusTime}} {
			if f.at != 0 {
				line += " " + f.name
			}
			if d.With&f.with != 0 {
				line += "=" + f.text
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if hello {
		lines = append(lines, "hello")
	}
	return lines
}

func (w *world) learn(list ...Detail) bool { return w.reg.Pods().Learn(w.name, list, false) }

// Of users without info and status, other pods hear only that the host has its first one.
func TestWhatOtherPodsAreToldOfUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newRelayed(t, &Rules{})
		wants := func(when string, want ...string) {
			t.Helper()
			if got := w.news(); !slices.Equal(got, want) {
				t.Errorf("%s: news %q, want %q", when, got, want)
			}
		}
		w.connect("")
		wants("an anonymous connection")
		a := w.connect("a")
		w.connect("b")
		wants("the first users", "a", "hello")
		if list, hello := w.reg.Pods().Known(w.name, []string{"a", "gone"}); len(list) != 1 || !hello {
			t.Errorf("known %v, hello %v", list, hello)
		}
		w.connect("c")
		w.connect("a")
		a.authenticate("a<a@x>")
		wants("more of them")
		if list, hello := w.reg.Pods().Known(w.name, nil); list != nil || !hello {
			t.Errorf("known %v, hello %v", list, hello)
		}
		if w.reg.Pods().Learn(w.name, nil, true) {
			t.Error("a hello is answered")
		}
		a.status(`{"s":1}`)
		a.status(`{"s":2}`)
		wants("a status", `a status={"s":1}`)
		pass(statusPause)
		wants("one that has waited", `a status={"s":2}`)
		a.authenticate("a[{}]")
		wants("an info", "a info status")
		a.authenticate("a[{}]")
		wants("the same info")
		w.connect("d")
		w.connect("e[{}]")
		wants("users after that", "d", "e info")
		if !w.reg.Pods().Learn(w.name, nil, true) {
			t.Error("a hello is not answered")
		}
		if list, hello := w.reg.Pods().Known(w.name, nil); len(list) != 5 || hello {
			t.Errorf("known %q, hello %v", detailTexts(list), hello)
		}
		w.learn()
		wants("an answer that is late")
	})
}

// When a pod says that there are infos and statuses on the host, this one asks about all its users.
func TestAnswerToHello(t *testing.T) {
	w, _ := newRelayed(t, &Rules{})
	w.connect("a")
	w.connect("b")
	w.news()
	w.learn()
	if got := w.news(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("news %q", got)
	}
	w.learn()
	w.connect("c")
	if got := w.news(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("then news %q", got)
	}
}

func TestPodsCompareDetails(t *testing.T) {
	const (
		mine   = `{"m":1}`
		theirs = `{"t":1}`
	)
	both := FieldInfo | FieldStatus
	tests := []struct {
		name string
		d    Detail // of a, of whom this pod knows the info mine of time 10, and no status
		want string // what this pod knows then, as text of all fields
		tell string // what it tells, as the text of all fields that have one; "" for nothing
	}{
		{"the same", Detail{InfoTime: 10}, "a info=10" + mine + " status=0", ""},
		{"the same with its text", Detail{InfoTime: 10, Info: mine, With: FieldInfo}, "a info=10" + mine + " status=0", ""},
		{"an older info", Detail{InfoTime: 9}, "a info=10" + mine + " status=0", "a info=10" + mine + " status=0"},
		{"a question", Detail{}, "a info=10" + mine + " status=0", "a info=10" + mine + " status=0"},
		{"a later info", Detail{InfoTime: 11, Info: theirs, With: FieldInfo}, "a info=11" + theirs + " status=0", ""},
		{"the time of a later info", Detail{InfoTime: 11}, "a info=10" + mine + " status=0", "a info=10 status=0"},
		{"a greater text of the same time", Detail{InfoTime: 10, Info: theirs, With: FieldInfo}, "a info=10" + theirs + " status=0", ""},
		{"a lesser text of the same time", Detail{InfoTime: 10, Info: `{"a":1}`, With: FieldInfo}, "a info=10" + mine + " status=0", "a info=10" + mine + " status=0"},
		{
			"an older info and a status",
			Detail{InfoTime: 9, Info: theirs, StatusTime: 1, Status: theirs, With: both},
			"a info=10" + mine + " status=1" + theirs, "a info=10" + mine + " status=1",
		},
		{
			"an older info and the time of a status",
			Detail{InfoTime: 9, StatusTime: 1},
			"a info=10" + mine + " status=0", "a info=10" + mine + " status=0",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, relay := newRelayed(t, &Rules{})
			w.connect("a")
			w.learn(Detail{ID: "a", InfoTime: 10, Info: mine, With: FieldInfo})
			w.reg.Pods().News(w.name)
			relay.lines = nil
			tt.d.ID = "a"
			w.learn(tt.d, Detail{ID: "stranger", InfoTime: 1, Info: theirs, With: FieldInfo})
			h := w.host()
			if got := detailText(newDetail("a", h.users["a"].extra, both)); got != tt.want || h.users["stranger"] != nil {
				t.Errorf("known is %s, want %s", got, tt.want)
			}
			list, _, _ := w.reg.Pods().News(w.name)
			if got := detailTexts(list); tt.tell == "" && len(got) > 0 || tt.tell != "" && !slices.Equal(got, []string{tt.tell}) {
				t.Errorf("told is %q, want %q", got, tt.tell)
			}
		})
	}
}

// The latest status reaches other pods also if the user, or the host, leaves this one at once.
func TestStatusIsToldAfterTheUserIsGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		stay bool // the host has another connection
	}{{"the user", true}, {"the host", false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := newRelayed(t, &Rules{})
				if tt.stay {
					w.connect("stays")
				}
				a := w.connect("a")
				w.news()
				a.status(`{"s":1}`)
				a.Close()
				if got := w.news(); !slices.Equal(got, []string{`a status={"s":1}`, "hello"}) {
					t.Errorf("news %q", got)
				}
				a = w.connect("a")
				if tt.stay {
					pass(statusPause)
				}
				w.news()
				a.status(`{"s":2}`)
				a.status(`{"s":3}`)
				a.Close()
				pass(statusPause)
				if got := w.news(); len(got) == 0 || got[0] != `a status={"s":3}` {
					t.Errorf("then news %q", got)
				}
				if len(w.reg.news.hosts) > 0 {
					t.Error("news is left")
				}
			})
		})
	}
}

// A user who reconnects does not change its status more often.
func TestStatusPauseHoldsOverReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher, _ := watching(t, rulesOf(classes{}))
		for n := range 3 {
			a := w.connect("a")
			a.join("room", WatchNone)
			a.status(fmt.Sprintf(`{"s":%d}`, n))
			a.Close()
			pass(statusPause / 10)
		}
		watcher.tells("presence room +a", `presence room ~a[{"s":0}]`, `presence room -a[{"s":0}]`,
			"presence room +a", "presence room -a", "presence room +a", "presence room -a")
	})
}

// Within its grace period, a user who comes to another pod has the status that watchers see, and
// those of pods that ask.
func TestStatusStaysInTheGraceOnAllPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher, _ := watching(t, &Rules{Grace: testGrace})
		w.merge("p", detailed(5, "", `{"p":1}`, 77), Merged)
		w.merge("p", whole(6, 0).after(5, "a?"), Merged)
		watcher.tells(`presence room +a[{"p":1}]`)
		w.learn() // there are infos and statuses on the host
		w.news()
		w.learn(Detail{ID: "a"})
		if got := w.news(); !slices.Equal(got, []string{`a status={"p":1}`}) {
			t.Errorf("news %q", got)
		}
		w.learn(Detail{ID: "a", StatusTime: 78})
		if got := w.news(); len(got) > 0 {
			t.Errorf("the pod asks %q about a user that it does not have", got)
		}
		back := w.connect("a")
		back.join("room", WatchNone)
		pass(testGrace)
		watcher.tells()
		back.leave("room")
		pass(0)
		watcher.tells(`presence room -a[{"p":1}]`)
		back.Close()
		w.connect("a").join("room", WatchNone)
		watcher.tells("presence room +a")
	})
}
