package presence

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// teller is a Shower whose records are JSON objects, with the e-mail address if it shows it.
type teller struct {
	painter
	email bool
}

func (p *teller) Show(host HostName, users []User) []Shown {
	shown := p.painter.Show(host, users)
	for i, u := range users {
		text := `{"id":"` + u.ID + `"}`
		if p.email {
			text = `{"email":"` + u.Email + `","id":"` + u.ID + `"}`
		}
		shown[i] = Shown{ID: u.ID, Record: text, Sender: text}
	}
	return shown
}

// A call to older plugins may end after a reload hides a field that they show.
func TestADecisionByOlderPluginsIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older := &painter{version: "1", gate: make(chan struct{})}
		newer := &painter{version: "2", gate: make(chan struct{})}
		w := newWorld(t, &Rules{Shower: older})
		a := w.connect("a")
		a.join("room", WatchList)
		synctest.Wait()
		w.host().useRules(&Rules{Shower: newer, Hide: FieldEmail})
		if err := a.Send([]string{"room"}, []byte("{}")); err != nil { // the first to see the new rules
			t.Fatal(err)
		}
		synctest.Wait()
		forget(a)
		older.gate <- struct{}{}
		synctest.Wait()
		a.hears()
		close(newer.gate)
		synctest.Wait()
		a.hears("presence room seq=1 count=1 +a<shown2>")
		newer.wantCalls(t, "a")
	})
}

// Those who were lost stay visible during their grace period, but not what is hidden since.
func TestAFieldThatIsHiddenIsNotShownInTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Shower: &teller{email: true}, Grace: time.Minute})
		watcher, a, elsewhere := w.connect("w"), w.connect("a<a@x>"), w.connect("a<a@x>")
		b := w.connect("b<b@x>")
		watcher.join("room", WatchList)
		a.join("room", WatchNone)
		b.join("room", WatchNone)
		synctest.Wait()
		if got := strings.Join(watcher.heard(), ""); !strings.Contains(got, "a@x") || !strings.Contains(got, "b@x") {
			t.Fatalf("before: %s", got)
		}
		a.Close() // the user has another connection, and is lost in the room alone
		b.Close()
		newer := &teller{painter: painter{version: "2", gate: make(chan struct{})}}
		w.host().SetRules(&Rules{Shower: newer, Hide: FieldEmail, Grace: time.Minute})
		joiner, back := w.connect("j"), w.connect("b<b@x>")
		joiner.join("room", WatchList)
		back.join("room", WatchList)
		synctest.Wait()
		close(newer.gate)
		synctest.Wait()
		pass(2 * time.Minute)
		for _, c := range []*client{watcher, joiner, back} {
			if got := strings.Join(c.heard(), "\n"); got == "" || strings.Contains(got, "@x") {
				t.Errorf("heard %s", got)
			}
		}
		elsewhere.Close()
	})
}

// During a rolling reload, another pod may still show a field that this pod hides.
func TestAFieldThatAnotherPodShowsIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := func(hide Fields) *Rules { return &Rules{Classifier: classes{}, Hide: hide} }
		w, watcher, _ := watching(t, rules(FieldEmail))
		const text, stripped = `{"email":"a@x","id":"a"}`, `{"id":"a"}`
		shown := Shown{ID: "a", Record: text, Sender: text, Time: 5}
		d := whole(5, 1, "a<a@x>")
		d.Joined[0].Shown = &shown
		w.merge("p", d, Merged)
		watcher.tells("presence room +a<" + stripped + ">")
		deliver := func(want string) {
			t.Helper()
			if err := w.reg.Pods().Deliver(w.name, Message{Channels: []string{"room"}, From: Source{Shown: &shown}, Body: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
			w.idle()
			watcher.hears("message room " + want + ": {}")
		}
		deliver(stripped)
		w.host().SetRules(rules(0))
		watcher.tells("presence room ~a<" + text + "> ~w")
		deliver(text)
		w.host().SetRules(rules(FieldEmail))
		watcher.tells("presence room ~a<" + stripped + "> ~w")
		deliver(stripped)
	})
}

func TestKeysAreRemoved(t *testing.T) {
	for _, test := range []struct {
		object string
		hide   Fields
		want   string
	}{
		{`{"id":"a","email":"a@x","n":"<&>"}`, 0, `{"id":"a","email":"a@x","n":"<&>"}`},
		{`{"id":"a","email":"a@x"}`, FieldEmail, `{"id":"a"}`},
		{`{"id":"a","info":{"email":"a@x"}}`, FieldEmail, `{"id":"a","info":{"email":"a@x"}}`},
		{`{"id":"a","info":{"email":"a@x"},"email":""}`, FieldEmail, `{"id":"a","info":{"email":"a@x"}}`},
		{`{"id":"\"email\"","status":{},"info":{},"email":""}`, FieldStatus | FieldInfo, `{"email":"","id":"\"email\""}`},
		{`"email"`, FieldEmail, ""},
		{"", FieldEmail, ""},
	} {
		if got := withoutKeys(test.object, test.hide); got != test.want {
			t.Errorf("%s without %03b is %s, want %s", test.object, test.hide, got, test.want)
		}
	}
}
