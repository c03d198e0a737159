package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"
)

// knowing connects a user with an info.
func (w *world) knowing(id, info string) *client {
	w.t.Helper()
	c := w.connect(id)
	if err := c.Authenticate(User{ID: id, Info: info}, nil); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestListingsHaveInfoWhereRequested(t *testing.T) {
	w := newWorld(t, &Rules{})
	ann := w.knowing("ann", `{"n":1}`)
	w.connect("bob").join("room", WatchNone)
	ann.join("room", WatchNone)
	w.connect("ann").join("room", WatchNone)
	if err := ann.SetStatus(`{"away":true}`); err != nil {
		t.Fatal(err)
	}
	known := User{ID: "ann", Info: `{"n":1}`, Status: `{"away":true}`}
	for _, per := range []Per{PerUser, PerConnection} {
		for _, tt := range []struct {
			per  Per
			want User
		}{{per, User{ID: "ann"}}, {per | WithInfo, known}} {
			entries := 1
			if tt.per.Raw() {
				entries = 2
			}
			check := func(what string, users []User) {
				t.Helper()
				n := 0
				for _, u := range users {
					if u == tt.want {
						n++
					} else if u != (User{ID: "bob"}) {
						t.Errorf("%s, per %d: %+v", what, tt.per, u)
					}
				}
				if n != entries || len(users) != entries+1 {
					t.Errorf("%s, per %d: %d entries of ann in %+v, want %d", what, tt.per, n, users, entries)
				}
			}
			users, _ := w.host().Users(tt.per)
			check("users", users)
			members, _ := w.reg.Pods().Members(w.host().Name(), tt.per)
			check("merged users", MergeMembers(tt.per, members))
			l, _ := w.host().Channel("room", tt.per)
			check("channel", l.Users)
			l, _ = w.reg.Pods().Listing(w.host().Name(), "room", tt.per)
			if (l.Details == nil) != (tt.per&WithInfo == 0) {
				t.Errorf("per %d: the times of details are %v", tt.per, l.Details)
			}
			check("merged channel", MergeListings(tt.per, []Listing{l})[0].Users)
			l, _ = w.host().Channel(ann.ID().PrivateChannel(), tt.per)
			if len(l.Users) != 1 || l.Users[0] != tt.want {
				t.Errorf("per %d: the private channel has %+v", tt.per, l.Users)
			}
		}
	}
}

// Of what two pods know of a user, the later info and the later status apply.
func TestMergedListingsHaveTheLatestDetails(t *testing.T) {
	first := Member{User: User{ID: "a", Info: `{"n":1}`, Status: `{"s":2}`}, InfoTime: 1, StatusTime: 2}
	second := Member{User: User{ID: "a", Info: `{"n":2}`, Status: `{"s":1}`}, InfoTime: 2, StatusTime: 1}
	ended := Member{User: User{ID: "a"}, StatusTime: 3}
	plain := Member{User: User{ID: "a", Email: "a@x"}, Seen: 1}
	listing := func(m Member) []Listing {
		return []Listing{{
			Channel: "room", Kind: Authenticated, Users: []User{m.User, {ID: "b"}}, Seen: []int64{m.Seen, 0},
			Details: []DetailTimes{{m.InfoTime, m.StatusTime, m.Own}, {}},
		}}
	}
	for _, tt := range []struct {
		pods []Member
		want User
	}{
		{[]Member{first, second}, User{ID: "a", Info: `{"n":2}`, Status: `{"s":2}`}},
		{[]Member{first, second, ended, plain}, User{ID: "a", Email: "a@x", Info: `{"n":2}`}},
		{[]Member{plain, first}, User{ID: "a", Email: "a@x", Info: `{"n":1}`, Status: `{"s":2}`}},
		{[]Member{ended, plain}, User{ID: "a", Email: "a@x"}},
	} {
		for range 2 {
			slices.Reverse(tt.pods) // the order of the pods does not matter
			var members [][]Member
			var listings [][]Listing
			for _, m := range tt.pods {
				members, listings = append(members, []Member{m, {User: User{ID: "b"}}}), append(listings, listing(m))
			}
			for _, per := range []Per{PerUser | WithInfo, PerConnection | WithInfo} {
				for what, users := range map[string][]User{
					"members": MergeMembers(per, members...), "listings": MergeListings(per, listings...)[0].Users,
				} {
					entries := 1
					if per.Raw() {
						entries = len(tt.pods)
					}
					want := slices.Concat(slices.Repeat([]User{tt.want}, entries), slices.Repeat([]User{{ID: "b"}}, entries))
					slices.SortStableFunc(users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
					if !slices.Equal(users, want) {
						t.Errorf("%s of %+v, per %d: %+v, want %+v", what, tt.pods, per, users, want)
					}
				}
			}
		}
	}
}

// A user whose last connection has ended, and who is back before watchers of a busy channel have
// seen that, has nothing of before: also not the status that waited to be shown.
func TestUserWhoIsBackHasNoDetailsOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		var watcher *client
		for i := range 150 {
			watcher = w.connect(fmt.Sprintf("w%d", i))
			watcher.join("room", WatchList)
		}
		a := w.knowing("a", `{"n":1}`)
		a.join("room", WatchNone)
		a.status(`{"s":1}`)
		pass(maxFlushWait)
		w.connect("x").join("room", WatchNone) // the next frame comes later
		watcher.heard()
		a.status(`{"s":2}`)
		a.Close()
		w.connect("a").join("room", WatchNone)
		pass(statusPause + maxFlushWait)
		watcher.tells("presence room ~a")
		users, _ := w.host().Users(PerUser | WithInfo)
		if last := users[len(users)-1]; last != (User{ID: "a"}) {
			t.Errorf("the user is %+v", last)
		}
	})
}

// All connections of a user share one info, the latest.
func TestInfoIsKeptOnceAUser(t *testing.T) {
	w := newWorld(t, &Rules{})
	first, second := w.knowing("a", strings.Clone(`{"n":1}`)), w.knowing("a", strings.Clone(`{"n":1}`))
	a, _ := first.User()
	b, _ := second.User()
	if a.Info != `{"n":1}` || a != b || unsafe.StringData(a.Info) != unsafe.StringData(b.Info) {
		t.Errorf("the connections have %+v and %+v", a, b)
	}
}
