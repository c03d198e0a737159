package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Watchers of both encodings receive the same, each in its own frames.
func TestEachEncodingSeesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		native, foreign := w.connect("n"), w.connectIn(1, "f")
		native.join("room", WatchList)
		foreign.join("room", WatchList)
		native.hears("joined room authenticated seq=0 count=1 [n]", "presence room seq=1 count=2 +f")
		foreign.hears("*joined room authenticated seq=1 count=2 [f n]")
		guest := w.connectIn(1, "guest")
		guest.join("room", WatchNone)
		for _, text := range []string{"1", "2"} {
			if err := guest.SendToOthers([]string{"room"}, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		guest.leave("room")
		want := []string{"presence room seq=2 count=3 +guest", "message room guest: 1", "message room guest: 2", "presence room seq=3 count=2 -guest"}
		native.hears(want...)
		for i := range want {
			want[i] = "*" + want[i]
		}
		foreign.hears(want...)
		guest.hears("*joined room authenticated self=guest", "*left room")
	})
}

// encodings counts the frames that are built.
type encodings struct {
	*tape
	built *[]string
	name  string
}

func (e encodings) Message(channel string, from Source, message []byte) []byte {
	*e.built = append(*e.built, e.name)
	return e.tape.Message(channel, from, message)
}

func (e encodings) Presence(d Diff) []byte {
	*e.built = append(*e.built, e.name)
	return e.tape.Presence(d)
}

func TestFramesAreBuiltOnceForEachEncodingInUse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		present []Encoding
		want    string
	}{
		{"native", []Encoding{0, 0}, "native"},
		{"another", []Encoding{1, 1}, "other"},
		{"both", []Encoding{0, 1, 1, 0}, "native other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Rules{})
				var built []string
				w.reg = NewRegistry(encodings{w.tape, &built, "native"}, encodings{w.tape, &built, "other"})
				var clients []*client
				for _, e := range tt.present {
					c := w.connectIn(e, "u")
					c.join("room", WatchList)
					clients = append(clients, c)
				}
				guest := w.connectIn(tt.present[0], "guest")
				guest.join("room", WatchNone)
				slices.Sort(built)
				if got := strings.Join(built, " "); got != tt.want {
					t.Errorf("diffs: %s, want %s", got, tt.want)
				}
				built = nil
				if err := guest.Send([]string{"room"}, []byte("1")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				slices.Sort(built)
				if got := strings.Join(built, " "); got != tt.want {
					t.Errorf("messages: %s, want %s", got, tt.want)
				}
				for _, c := range clients {
					if got := c.heard(); got[len(got)-1] != "message room guest: 1" {
						t.Errorf("frames %q", got)
					}
				}
			})
		})
	}
}

// A connection with another encoding has itself in the answer to its join whatever is shown, and
// hears nothing of itself.
func TestJoinerKnowsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := &Rules{Shower: newStage(), Classifier: classes{"count": {Kind: Authenticated, CountOnly: true}}}
		w := newWorld(t, rules)
		stage := rules.Shower.(*stage)
		watcher := w.connect("")
		watcher.enter("room", WatchList, "")
		c := w.connectIn(1, "")
		c.enter("room", WatchList, "ada[1]")
		c.enter("count", WatchList, "ada[1]")
		c.hears("*joined room authenticated seq=1 count=1 [] self=ada[1]", "*joined count authenticated seq=0 count=1 self=ada[1]")
		other := w.connectIn(1, "")
		other.enter("room", WatchList, "bob")
		stage.open()
		synctest.Wait()
		time.Sleep(maxFlushWait)
		got := c.heard()
		if text := strings.Join(got, "\n"); strings.Contains(text, "+ada") || !strings.Contains(text, "+bob") {
			t.Errorf("frames to ada: %q", got)
		}
		got = watcher.heard()
		if text := strings.Join(got, "\n"); !strings.Contains(text, "+ada") || !strings.Contains(text, "+bob") {
			t.Errorf("frames to a native watcher: %q", got)
		}
	})
}

// Connections that share one encoded answer know themselves, too.
func TestJoinersOfOneFlushKnowThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Shower: new(painter)})
		for i := range 150 { // with these, the next joins wait for a common flush
			w.connectIn(1, fmt.Sprint("w", i)).join("room", WatchList)
		}
		pair := []*client{w.connectIn(1, "ada"), w.connectIn(1, "bob")}
		time.Sleep(maxFlushWait)
		w.connectIn(1, "first").join("room", WatchList)
		for _, c := range pair {
			c.join("room", WatchList)
		}
		time.Sleep(maxFlushWait)
		for _, c := range pair {
			if got := c.heard(); len(got) != 1 {
				t.Fatalf("%q, want the answer alone", got)
			}
		}
		for i, c := range pair { // the first may be flushed before the second
			c.authenticate([]string{"ada<up>", "bob<up>"}[i])
		}
		time.Sleep(maxFlushWait)
		for i, c := range pair {
			own, other := []string{"ada", "bob"}[i], []string{"BOB", "ADA"}[i]
			got := strings.Join(c.heard(), "\n")
			if strings.Contains(got, "-"+own) || strings.Contains(got, "+"+strings.ToUpper(own)) || !strings.Contains(got, "+"+other) {
				t.Errorf("frames to %s: %q", own, got)
			}
		}
	})
}

// stage is a Shower that shows everybody, once it is open.
type stage struct{ opened chan struct{} }

func newStage() *stage { return &stage{make(chan struct{})} }

func (s *stage) open()         { close(s.opened) }
func (*stage) Version() string { return "1" }

func (s *stage) Show(_ HostName, users []User) []Shown {
	<-s.opened
	list := make([]Shown, len(users))
	for i, u := range users {
		list[i] = Shown{ID: u.ID, Record: u.Info + ".", Sender: "."}
	}
	return list
}

// When names are back, a connection with another encoding is answered as if it had joined again.
func TestReturnedNamesAnswerAgain(t *testing.T) {
	w := newWorld(t, &Rules{MaxNames: 2})
	native, foreign := w.connect("n"), w.connectIn(1, "f")
	native.join("room", WatchList)
	foreign.join("room", WatchList)
	others := []*client{w.connect("a"), w.connect("b")}
	for _, c := range others {
		c.join("room", WatchNone)
	}
	late := w.connectIn(1, "late")
	late.join("room", WatchList)
	late.hears("*joined room authenticated seq=4 count=5 unnamed self=late")
	forget(native, foreign)
	late.leave("room")
	for _, c := range others {
		c.leave("room")
	}
	rules := *w.rules
	rules.MaxNames = 5
	w.host().SetRules(&rules)
	want := []string{"presence room seq=5 count=4", "presence room seq=6 count=3", "presence room seq=7 count=2"}
	native.hears(append(slices.Clone(addNames(want)), "presence room seq=8 count=2 names=true")...)
	for i, line := range addNames(want) {
		want[i] = "*" + line
	}
	foreign.hears(append(want, "*joined room authenticated seq=8 count=2 [f n]")...)
}

// addNames adds that there are no names.
func addNames(lines []string) []string {
	list := make([]string, len(lines))
	for i, line := range lines {
		list[i] = line + " names=false"
	}
	return list
}
