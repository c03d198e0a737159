package presence

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTwoUsersInOneConnection(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("watcher")
	watcher.join("room", WatchList)
	watcher.join("hall", WatchList)
	c := w.connect("")
	if err := c.Identify(*parseUser(`ada[{"n":1}]`), nil); err != nil {
		t.Fatal(err)
	}
	c.enter("room", WatchNone, `ada[{"n":1}]`)
	c.enter("hall", WatchNone, `bob<bob@x>["b"]`)
	watcher.hears(
		"joined room authenticated seq=0 count=1 [watcher]", "joined hall authenticated seq=0 count=1 [watcher]",
		`presence room seq=1 count=2 +ada[{"n":1}]`, `presence hall seq=1 count=2 +bob<bob@x>["b"]`,
	)
	wantLines(t, w.channels(PerUser|WithInfo), `hall [bob<bob@x>["b"] watcher]`, `room [ada[{"n":1}] watcher]`)
	if users, stats := w.host().Users(PerUser); len(users) != 2 || stats.LoggedIn != 2 || c.SignedIn() {
		t.Errorf("users %v, %+v, signed in %v", users, stats, c.SignedIn())
	}
	if err := c.Send([]string{"hall"}, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	waitSent(t, watcher, "message hall bob: {}")
	c.leave("hall")
	c.Quit()
	watcher.hears("presence hall seq=2 count=1 -bob<bob@x>[\"b\"]", `presence room seq=2 count=1 -ada[{"n":1}]`)
	wantLines(t, w.channels(PerUser), "hall [watcher]", "room [watcher]")
}

// waitSent waits for the only frame of a client.
func waitSent(t *testing.T, c *client, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got := c.heard(); len(got) > 0 {
			if !slices.Equal(got, []string{want}) {
				t.Errorf("frames %q, want %q", got, want)
			}
			return
		}
	}
	t.Errorf("no frame, want %q", want)
}

// A user who is logged in, and whose backend has signed for another connection, is one member: the
// info of the membership is shown as long as there is one.
func TestLoginAndMembershipAreOneMember(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("watcher")
	watcher.join("room", WatchList)
	native := w.connect(`ada<ada@x>[{"n":"login"}]`)
	native.join("room", WatchNone)
	forget(watcher)
	c := w.connectIn(1, "")
	c.enter("room", WatchNone, `ada[{"n":"signed"}]`)
	watcher.hears(`presence room seq=2 count=2 ~ada<ada@x>[{"n":"signed"}]`)
	wantLines(t, w.channels(PerUser|WithInfo), `room [ada<ada@x>[{"n":"signed"}] watcher]`)
	wantLines(t, w.channels(PerConnection), `room [ada<ada@x> ada<ada@x> watcher]`)
	if err := native.SetStatus(`{"s":1}`); err != nil {
		t.Fatal(err)
	}
	watcher.hears(`presence room seq=3 count=2 ~ada<ada@x>[{"n":"signed"}{"s":1}]`)
	if u, _ := native.User(); u.Info != `{"n":"login"}` {
		t.Errorf("the user has the info %s", u.Info)
	}
	c.leave("room")
	watcher.hears(`presence room seq=4 count=2 ~ada<ada@x>[{"n":"login"}{"s":1}]`)
	c.enter("room", WatchNone, `ada[7]`)
	native.Quit()
	watcher.hears(`presence room seq=5 count=2 ~ada<ada@x>[7{"s":1}]`, `presence room seq=6 count=2 ~ada<ada@x>[7]`)
	c.Quit()
	watcher.hears(`presence room seq=7 count=1 -ada<ada@x>[7]`)
}

func TestTheLatestInfoOfMembershipsIsShown(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("watcher")
	watcher.join("room", WatchList)
	first, second := w.connect(""), w.connect("")
	first.enter("room", WatchNone, "ada[1]")
	second.enter("room", WatchNone, "ada[2]")
	second.leave("room") // the info of a member stays while it has a membership
	first.enter("room", WatchNone, "ada[3]")
	first.enter("room", WatchNone, "bob") // as another user
	watcher.hears(
		"joined room authenticated seq=0 count=1 [watcher]", "presence room seq=1 count=2 +ada[1]", "presence room seq=2 count=2 ~ada[2]",
		"presence room seq=3 count=2 ~ada[3]", "presence room seq=4 count=2 +bob -ada[3]",
	)
}

func TestIdentifyThenLeave(t *testing.T) {
	w := newWorld(t, &Rules{})
	watcher := w.connect("watcher")
	watcher.join("room", WatchList)
	forget(watcher)
	c := w.connect("")
	if err := c.Identify(User{ID: "ada"}, nil); err != nil {
		t.Fatal(err)
	}
	c.enter("presence-a", WatchNone, "ada")
	c.leave("presence-a")
	c.join("room", WatchNone) // the connection counts as ada everywhere
	watcher.hears("presence room seq=1 count=2 +ada")
	if err := c.Identify(User{ID: "bob"}, nil); err != nil || !c.hasUserID("ada") || c.SignedIn() {
		t.Errorf("identified again: %v, signed in %v", err, c.SignedIn())
	}
	c.authenticate("ada")
	if !c.SignedIn() {
		t.Error("not signed in after a login")
	}
	c.authenticate("cleo")
	watcher.hears("presence room seq=2 count=2 +cleo -ada")
}

func TestLostIdentityHasGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{Grace: 3 * time.Second})
		watcher := w.connect("watcher")
		watcher.join("room", WatchList)
		c := w.connect("")
		c.enter("room", WatchNone, "ada[1]")
		forget(watcher)
		c.Close()
		time.Sleep(2 * time.Second)
		again := w.connect("")
		again.enter("room", WatchNone, "ada[1]")
		watcher.hears() // was never away
		again.Close()
		time.Sleep(2 * time.Second)
		native := w.connect(`ada[{"n":1}]`) // comes back by a login
		native.join("room", WatchNone)
		watcher.hears(`presence room seq=2 count=2 ~ada[{"n":1}]`)
		last := w.connect("")
		last.enter("room", WatchNone, "ada[2]")
		native.Quit()
		last.Close()
		forget(watcher)
		time.Sleep(3*time.Second + maxFlushWait)
		watcher.hears("presence room seq=4 count=1 -ada[2]")
		watcher.Close()
	})
}

func TestProofIsJudged(t *testing.T) {
	granted, own := Class{Kind: Authenticated, Grant: true}, Class{Kind: Authenticated, Grant: true, OwnerAt: 5}
	for _, tt := range []struct {
		name  string
		class Class
		want  error // of entering with a proof
		stays bool  // after a reload, if it has entered before
	}{
		{"a grant is needed", granted, nil, true},
		{"quiet", Class{Kind: Authenticated, Quiet: true}, nil, true},
		{"a login is needed", Class{Kind: Authenticated}, nil, true},
		{"anonymous", Class{Kind: Anonymous}, nil, true},
		{"denied", Class{Kind: Authenticated, Denied: true}, ErrDenied, false},
		{"another user's own", own, ErrLoginRequired, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entry := Entry{Proof: true, Watch: WatchList}
			rules := &Rules{Classifier: classes{"user-a": tt.class}}
			if err := newWorld(t, rules).connect("").Enter("user-a", entry); !errors.Is(err, tt.want) {
				t.Errorf("entering: %v, want %v", err, tt.want)
			}
			w := newWorld(t, &Rules{Classifier: classes{"user-a": granted}})
			c := w.connect("")
			if err := c.Join("user-a", WatchNone, ""); err == nil {
				t.Error("joined without a proof")
			}
			c.enter("user-a", WatchNone, "")
			w.host().SetRules(rules)
			c.authenticate("ada")
			forget(c)
			err := c.Send([]string{"user-a"}, []byte("{}"))
			if stays := err == nil; stays != tt.stays {
				t.Errorf("sending after a reload: %v, stays: %v", err, tt.stays)
			}
		})
	}
}

func TestProofAsksTheAuthorizerAboutTheMember(t *testing.T) {
	w := newWorld(t, &Rules{Authorizer: guestList{{"room", "bob"}: ErrDenied, {"room", ""}: ErrDenied}})
	c := w.connect("")
	for _, tt := range []struct {
		as   *Identity
		want error
	}{{nil, ErrDenied}, {&Identity{ID: "bob"}, ErrDenied}, {&Identity{ID: "ada"}, nil}, {&Identity{ID: "bob"}, ErrDenied}} {
		if err := c.Enter("room", Entry{Proof: true, Member: tt.as}); !errors.Is(err, tt.want) {
			t.Errorf("entering as %+v: %v, want %v", tt.as, err, tt.want)
		}
	}
	wantLines(t, w.channels(PerUser), "room [ada]")
}

// A proof needs no user. A channel that shows only a number counts each such connection, on all
// pods.
func TestUserlessConnectionsAreANumber(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: classes{"private-a": {Kind: Authenticated, CountOnly: true}}})
	watcher := w.connect("watcher")
	watcher.join("private-a", WatchCount)
	first, second, named := w.connect(""), w.connect(""), w.connect("")
	for _, c := range []*client{first, second, named} {
		c.enter("private-a", WatchNone, "")
	}
	named.enter("room", WatchNone, "")
	watcher.hears("joined private-a authenticated seq=0 count=1", "presence private-a seq=1 count=2",
		"presence private-a seq=2 count=3", "presence private-a seq=3 count=4")
	wantLines(t, w.channels(PerUser), "private-a 4", "room []")
	wantLines(t, w.channels(PerConnection), "private-a 4", "room []")
	if e := w.host().EncodedChannel("private-a"); e.Channels[0].Count != 4 {
		t.Errorf("encoded: %+v", e.Channels[0])
	}
	part := w.reg.Pods().Listings(w.name, PerUser)
	merged := MergeListings(PerUser, part, []Listing{{Channel: "private-a", Kind: Authenticated, CountOnly: true, Userless: 2, Users: []User{{ID: "watcher"}}}})
	if merged[0].Count != 6 || merged[0].Userless != 5 {
		t.Errorf("merged: %+v", merged[0])
	}
	first.authenticate("ada")
	second.authenticate("ada")
	watcher.hears("presence private-a seq=4 count=3")
	named.Close()
	watcher.hears("presence private-a seq=5 count=2")
}

func TestMessagesToWhoIsSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		login, identified, other := w.connect("ada"), w.connectIn(1, ""), w.connectIn(1, "ada")
		if err := identified.Identify(User{ID: "ada"}, nil); err != nil {
			t.Fatal(err)
		}
		m := Message{Users: []string{"ada"}, From: Source{To: "ada"}, Body: []byte("{}")}
		if err := w.reg.Send(w.name, m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		login.hears("message " + login.ID().PrivateChannel() + " (backend): {}")
		other.hears("*message " + other.ID().PrivateChannel() + " (backend): {}")
		identified.hears()
		m.Users = append(m.Users, "bob")
		if err := w.reg.Send(w.name, m); err == nil {
			t.Error("a message to one of two users was sent")
		}
	})
}
