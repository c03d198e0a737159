package presence

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// login logs c in with what a token grants.
func (c *client) login(user string, grants *Grants) {
	c.t.Helper()
	if err := c.Authenticate(User{ID: user}, grants); err != nil {
		c.t.Fatalf("authenticate %q: %v", user, err)
	}
}

func grantRules() *Rules {
	return &Rules{Classifier: Patterns{Own: []string{"user-"}, Granted: []string{"team-*"}, Quiet: []string{"news-*"}}}
}

func TestLoginIsJudgedBeforeWatchersSeeIt(t *testing.T) {
	w := newWorld(t, grantRules())
	watcher, c := w.connect("w"), w.connect("a")
	watcher.SetGrants(grantsOf(MayAll, "*"))
	c.SetGrants(grantsOf(MayAll, "*"))
	watcher.join("team-1", WatchList)
	for _, channel := range []string{"team-1", "user-a", "news-1", "room"} {
		c.join(channel, WatchNone)
	}
	forget(watcher, c)
	c.login("b", nil)
	c.hears("left team-1 (denied)", "left user-a (denied)")
	watcher.hears("presence team-1 seq=2 count=1 -a")
	wantLines(t, w.channels(PerUser), "news-1 [b]", "room [b]", "team-1 [w]")
	if err := c.Send([]string{"news-1"}, []byte("{}")); !errors.Is(err, ErrDenied) {
		t.Errorf("send in a quiet channel: %v", err)
	}
	if err := c.Send([]string{"room"}, []byte("{}")); err != nil {
		t.Error(err)
	}
}

func TestWithoutSeeNoPresenceFrames(t *testing.T) {
	w := newWorld(t, grantRules())
	c, other, third := w.connect("a"), w.connect("b"), w.connect("c")
	for _, l := range []*client{c, other, third} {
		l.SetGrants(grantsOf(MayAll, "*"))
	}
	c.join("team-1", WatchList)
	other.join("team-1", WatchList)
	forget(c, other)
	c.login("a", grantsOf(MayJoin, "team-1"))
	third.join("team-1", WatchNone)
	c.hears()
	other.hears("presence team-1 seq=2 count=3 +c")
	if err := c.Join("team-1", WatchCount, ""); !errors.Is(err, errMayNotSee) {
		t.Errorf("join with presence: %v", err)
	}
	c.login("a", grantsOf(MayJoin|MaySee, "team-1"))
	c.join("team-1", WatchCount)
	c.hears("joined team-1 authenticated seq=2 count=3")
}

// A join that waits for a busy channel is answered without members if the permission is lost.
func TestUnansweredJoinThatLosesItsGrant(t *testing.T) {
	for name, tt := range map[string]struct {
		grants *Grants
		want   []string
	}{
		"join": {nil, []string{"joined team-1#7 authenticated", "left team-1 (denied)"}},
		"see":  {grantsOf(MayJoin, "*"), []string{"joined team-1#7 authenticated"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, grantRules())
				for i := range 200 { // the cost of a frame delays the answer
					l := w.connect(fmt.Sprintf("w%d", i))
					l.SetGrants(grantsOf(MayAll, "*"))
					l.join("team-1", WatchCount)
				}
				time.Sleep(time.Second)
				c := w.connect("a")
				c.SetGrants(grantsOf(MayAll, "*"))
				_ = c.Join("team-1", WatchNone, "")
				forget(c)
				if err := c.Join("team-1", WatchList, "7"); err != nil {
					t.Fatal(err)
				}
				c.hears()
				c.login("a", tt.grants)
				c.hears(tt.want...)
				time.Sleep(time.Second)
				c.hears()
			})
		})
	}
}

// Equal joins of one frame are encoded once, but not for other permissions.
func TestAnswersOfOneFrameDifferInPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, grantRules())
		for i := range 200 {
			l := w.connect(fmt.Sprintf("w%d", i))
			l.SetGrants(grantsOf(MayAll, "*"))
			l.join("team-1", WatchCount)
		}
		time.Sleep(time.Second)
		want := map[*client]Permissions{}
		for i, may := range []Permissions{MayAll, MayJoin | MaySee, MayAll} {
			c := w.connect(fmt.Sprintf("u%d", i))
			c.SetGrants(grantsOf(may, "*"))
			c.join("team-1", WatchCount)
			want[c] = may
		}
		time.Sleep(time.Second)
		for c, may := range want {
			frames := c.in.take()
			if j, ok := w.tape.get(frames[0]).(Joined); !ok || j.May != may || !j.Grant {
				t.Errorf("answer %+v, want the permissions %03b", w.tape.get(frames[0]), may)
			}
		}
	})
}

func TestReloadJudgesGrants(t *testing.T) {
	with := func(change func(*Rules)) *Rules {
		r := grantRules()
		change(r)
		return r
	}
	tests := []struct {
		name string
		next *Rules
		want []string
	}{
		{"the same", grantRules(), nil},
		{"another claim", with(func(r *Rules) { r.GrantsClaim = "rooms" }), []string{"left team-1 (denied)"}},
		{"another claim, assigned", with(func(r *Rules) {
			r.GrantsClaim, r.Grants = "rooms", grantTable{"a team-1": MayAll}
		}), nil},
		{"no longer granted", &Rules{Classifier: Patterns{}}, nil},
		{"granted", with(func(r *Rules) { r.Classifier = Patterns{DefaultGranted: true} }), []string{"left news-1 (denied)", "left room (denied)"}},
		{"own", with(func(r *Rules) { r.Classifier = Patterns{Own: []string{"team-"}} }), []string{"left team-1 (denied)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, grantRules())
			c := w.connect("a")
			c.SetGrants(grantsOf(MayAll, "team-*"))
			for _, channel := range []string{"team-1", "news-1", "room"} {
				c.join(channel, WatchNone)
			}
			forget(c)
			w.host().SetRules(tt.next)
			got := c.heard()
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAuthorizeIsAskedAfterAReload(t *testing.T) {
	kept := grantTable{"a team-2": MayAll}
	rules := grantRules()
	rules.Kept = kept
	w := newWorld(t, rules)
	c := w.connect("a")
	c.SetGrants(grantsOf(MayJoin|MaySend, "team-1", "team-3"))
	for _, channel := range []string{"team-1", "team-2", "team-3", "room"} {
		c.join(channel, WatchNone)
	}
	forget(c)
	if got := c.Asked(); !slices.Equal(got, []string{"team-2"}) {
		t.Errorf("stays by authorize: %q", got)
	}
	next := *rules
	next.GrantsClaim, next.Kept = "rooms", grantTable{}
	w.host().SetRules(&next)
	c.hears()
	if got := c.Asked(); !slices.Equal(got, []string{"team-1", "team-2", "team-3"}) {
		t.Errorf("to ask: %q", got)
	}
	if err := c.Send([]string{"team-1"}, []byte("{}")); err != nil {
		t.Errorf("until the answer: %v", err)
	}
	c.login("a", &Grants{}) // the same user still waits for the answer
	c.hears()
	if c.SetAsked("b", "team-1", 0) || c.SetAsked("a", "team-4", MayAll) {
		t.Error("an answer for another user, or another channel, is taken")
	}
	if !c.SetAsked("a", "team-1", MayJoin) || !c.SetAsked("a", "team-2", 0) || !c.SetAsked("a", "team-3", MayAll) {
		t.Error("an answer is not taken")
	}
	got := slices.DeleteFunc(c.heard(), func(s string) bool { return s == "message team-1 a: {}" })
	if !slices.Equal(got, []string{"left team-2 (denied)"}) {
		t.Errorf("got %q", got)
	}
	for channel, want := range map[string]error{"team-1": ErrDenied, "team-3": nil} {
		if err := c.Send([]string{channel}, []byte("{}")); !errors.Is(err, want) {
			t.Errorf("send in %s: %v, want %v", channel, err, want)
		}
	}
	c.login("a", nil) // the same user keeps the answers
	if got := c.Asked(); !slices.Equal(got, []string{"team-1", "team-3"}) {
		t.Errorf("after a login of the same user: %q", got)
	}
	c.login("b", nil)
	if got := c.Asked(); got != nil {
		t.Errorf("after a login of another user: %q", got)
	}
}

func TestHasAskedAlsoWhileATokenCoversIt(t *testing.T) {
	rules := grantRules()
	rules.Kept = grantTable{"a team-2": MayAll}
	c := newWorld(t, rules).connect("a")
	c.SetGrants(grantsOf(MayAll, "team-1"))
	c.join("team-1", WatchNone)
	c.join("team-2", WatchNone)
	for name, grants := range map[string]*Grants{"by the answer": nil, "covered": grantsOf(MayAll, "team-*")} {
		c.login("a", grants)
		if got := c.Asked(); (got != nil) != (grants == nil) || !c.HasAsked("team-2") || c.HasAsked("team-3") {
			t.Errorf("%s: asked %q", name, got)
		}
	}
}

func TestAssignmentIsAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assigned := make(grantTable)
		rules := grantRules()
		rules.Grants = assigned
		w := newWorld(t, rules)
		c, both := w.connect("a"), w.connect("a")
		both.SetGrants(grantsOf(MayJoin, "team-1"))
		if err := c.Assign("a", "team-1"); !errors.Is(err, ErrDenied) {
			t.Errorf("without an assignment: %v", err)
		}
		both.join("team-1", WatchNone)
		assigned["a team-1"] = MayAll
		assigned["a user-b"] = MayAll
		if err := both.Assign("a", "team-1"); err != nil {
			t.Fatal(err)
		}
		if err := both.Send([]string{"team-1"}, []byte("{}")); err != nil {
			t.Errorf("the assignment adds no permission: %v", err)
		}
		if err := c.Assign("a", "user-b"); !errors.Is(err, ErrDenied) {
			t.Errorf("the own channel of another user: %v", err)
		}
		if err := rules.Assignable(w.name, "user-a"); !errors.Is(err, errOwn) {
			t.Errorf("an own channel is assignable: %v", err)
		}
		c.join("team-1", WatchList) // by itself, before the server joins it
		w.idle()
		forget(c, both)
		delete(assigned, "a team-1")
		if !c.Unassign("team-1") || both.Unassign("team-1") {
			t.Error("only the connection without another grant must leave")
		}
		c.hears("left team-1 (removed)")
		both.hears()
		if err := both.Send([]string{"team-1"}, []byte("{}")); !errors.Is(err, ErrDenied) {
			t.Errorf("send after the assignment: %v", err)
		}
	})
}

// An answer of authorize to another connection has an end, which nobody would watch here.
func TestKeptAnswerIsNoReasonToStay(t *testing.T) {
	assigned, kept := grantTable{"a team-1": MayAll}, make(grantTable)
	rules := grantRules()
	rules.Grants, rules.Kept = assigned, kept
	w := newWorld(t, rules)
	c := w.connect("a")
	if err := c.Assign("a", "team-1"); err != nil {
		t.Fatal(err)
	}
	forget(c)
	kept["a team-1"] = MayAll
	delete(assigned, "a team-1")
	if !c.Unassign("team-1") {
		t.Error("the connection stays")
	}
	c.hears("left team-1 (removed)")
}

func TestProvisionalClassIsDecidedAgain(t *testing.T) {
	failed := errors.New("plugin failed")
	for name, during := range map[string]func() (Class, error){
		"passed over": func() (Class, error) { return Class{Kind: Anonymous, Provisional: true}, nil },
		"refused":     func() (Class, error) { return Class{}, failed },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fails atomic.Bool
				var asked atomic.Int32
				rules := &Rules{Classifier: classifierFunc(func(string) (Class, error) {
					asked.Add(1)
					if fails.Load() {
						return during()
					}
					return Class{Kind: Authenticated}, nil
				})}
				w := newWorld(t, &Rules{Classifier: Patterns{Default: Anonymous}})
				guest, user := w.connect(""), w.connect("a")
				defer guest.Close()
				defer user.Close()
				guest.join("room", WatchNone)
				user.join("room", WatchNone)
				forget(guest)
				fails.Store(true)
				w.host().SetRules(rules)
				time.Sleep(5 * time.Second) // after 1 and 3 s
				if n := asked.Load(); n != 3 {
					t.Errorf("asked %d times, want 3", n)
				}
				guest.hears()
				fails.Store(false)
				time.Sleep(3 * time.Second) // after 7 s
				guest.hears("left room (denied)")
				time.Sleep(time.Hour)
				if n := asked.Load(); n != 4 {
					t.Errorf("asked %d times, want 4", n)
				}
			})
		})
	}
}

// An assignment may end before the connection is joined again. It leaves a listener that waits for
// authorize as it is.
func TestAssignmentThatHasEndedGivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := grantRules()
		rules.Kept = grantTable{}
		w := newWorld(t, rules)
		waits, denied := w.connect("a"), w.connect("b")
		for _, c := range []*client{waits, denied} {
			c.SetGrants(grantsOf(MayAll, "*"))
			c.join("team-1", WatchList)
		}
		next := *rules
		next.GrantsClaim = "rooms"
		w.host().SetRules(&next)
		forget(waits, denied)
		if err := waits.Assign("a", "team-1"); err != nil {
			t.Error(err)
		}
		if got := waits.Asked(); !slices.Equal(got, []string{"team-1"}) {
			t.Errorf("to ask: %q", got)
		}
		waits.hears()
		if err := waits.Send([]string{"team-1"}, []byte("{}")); err != nil {
			t.Errorf("until the answer: %v", err)
		}
		w.idle()
		waits.SetAsked("a", "team-1", 0)
		waits.hears("message team-1 a: {}", "left team-1 (denied)")

		last := next
		last.Kept = nil // with nobody to ask
		w.host().SetRules(&last)
		denied.hears("message team-1 a: {}", "presence team-1 seq=2 count=1 -a", "left team-1 (denied)")
	})
}

// A retry of provisional classes ends nobody's wait for authorize.
func TestRetryOfClassesEndsNoWait(t *testing.T) {
	for name, grant := range map[string]bool{"the class stays": true, "another class": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var works atomic.Bool
				var calls atomic.Int32
				rules := &Rules{Kept: grantTable{}, Classifier: classifierFunc(func(string) (Class, error) {
					return Class{Kind: Authenticated, Grant: grant || works.Load(), Provisional: !works.Load()}, nil
				})}
				w := newWorld(t, rules)
				w.reg.OnReclassified(func(*Host) { calls.Add(1) })
				c := w.connect("a")
				defer c.Close()
				c.SetGrants(grantsOf(MayAll, "*"))
				c.join("room", WatchNone)
				forget(c)
				next := *rules
				next.GrantsClaim = "rooms"
				w.host().SetRules(&next)
				works.Store(true)
				time.Sleep(time.Hour)
				c.hears()
				if got := c.Asked(); !slices.Equal(got, []string{"room"}) {
					t.Errorf("to ask: %q", got)
				}
				want := int32(1)
				if !grant {
					want = 2 // the change of the class is one more reason to ask
				}
				if calls := calls.Load(); calls != want {
					t.Errorf("%d calls, want %d", calls, want)
				}
				c.SetAsked("a", "room", 0)
				c.hears("left room (denied)")
			})
		})
	}
}

// When a classifier works again and a channel comes to need a grant, nobody asks authorize about
// those who listen: they leave, and may join again.
func TestProvisionalChannelComesToNeedAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		w := newWorld(t, &Rules{Kept: grantTable{}, Classifier: classifierFunc(func(string) (Class, error) {
			return Class{Kind: Authenticated, Grant: works.Load(), Provisional: !works.Load()}, nil
		})})
		c := w.connect("a")
		defer c.Close()
		c.join("room", WatchNone)
		forget(c)
		works.Store(true)
		time.Sleep(2 * retryClasses)
		c.hears("left room (denied)")
	})
}

// A classifier that fails never opens a channel that needs a grant by the patterns.
func TestFailedClassificationOpensNothing(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: Patterns{}})
	guest, c := w.connect(""), w.connect("a")
	for _, channel := range []string{"anonymous-1", "anonymous-a"} {
		guest.join(channel, WatchNone)
		c.join(channel, WatchNone)
	}
	c.join("room", WatchNone)
	forget(guest, c)
	patterns := Patterns{Own: []string{"anonymous-a"}, DefaultGranted: true, Quiet: []string{"*"}}
	w.host().SetRules(&Rules{Classifier: classifierFunc(func(channel string) (Class, error) {
		class, _ := patterns.Classify(HostName{}, channel)
		return class, errors.New("plugin failed")
	})})
	for name, l := range map[string]*client{"guest": guest, "user": c} {
		got := l.heard()
		slices.Sort(got)
		want := []string{"left anonymous-1 (denied)", "left anonymous-a (denied)", "left room (denied)"}
		if l == guest {
			want = want[:2]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	guest.Close()
	c.Close()
}

// A reload that takes a plugin away, or its right to grant, ends what it granted, and no more.
func TestReloadEndsGrantsOfPlugins(t *testing.T) {
	rules := grantRules()
	rules.GrantPlugins = []string{"roles", "badges"}
	w := newWorld(t, rules)
	c := w.connect("a")
	c.SetGrants(byPlugin("roles", MayAll, "team-1", "badges", MayAll, "team-2"))
	c.join("team-1", WatchNone)
	c.join("team-2", WatchNone)
	forget(c)
	next := *rules
	next.GrantPlugins = []string{"badges"}
	w.host().SetRules(&next)
	c.hears("left team-1 (denied)")
	late := w.connect("b")
	late.SetGrants(byPlugin("roles", MayAll, "team-1")) // the plugin was asked before the reload
	w.host().SetRules(rules)
	for _, of := range []*client{c, late} {
		if err := of.Join("team-1", WatchNone, ""); !errors.Is(err, ErrDenied) {
			t.Errorf("after another reload, ended grants give %v", err)
		}
	}
	c.join("team-2", WatchNone)
	if err := c.Authenticate(User{ID: "a"}, byPlugin("roles", MayAll, "team-1")); err != nil {
		t.Fatal(err)
	}
	c.join("team-1", WatchNone)
}
