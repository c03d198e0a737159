package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestMembersAreUsersWithTimes(t *testing.T) {
	w := newWorld(t, &Rules{})
	before := time.Now().UnixMilli()
	w.connect("a<a@x>")
	w.connect("")
	w.connect("b")
	w.connect("a")
	for _, per := range []Per{PerUser, PerConnection} {
		users, stats := w.host().Users(per)
		members, memberStats := w.reg.Pods().Members(w.host().Name(), per)
		if stats != memberStats || len(members) != len(users) {
			t.Fatalf("per %v: %d members with %+v, %d users with %+v", per, len(members), memberStats, len(users), stats)
		}
		for i, m := range members {
			if m.User != users[i] || (m.Email == "") != (m.Seen == 0) || m.Seen != 0 && m.Seen < before {
				t.Errorf("per %v: %+v of %+v", per, m, users[i])
			}
		}
	}
}

// sharedText formats a listing like listingText, with the kind, CountOnly, all users, and the
// number of times.
func sharedText(l Listing) string {
	flag := ""
	if l.CountOnly {
		flag = " count only"
	}
	return fmt.Sprintf("%s%s %s %d, %d times", l.Kind, flag, userTexts(l.Users), l.Count, len(l.Seen))
}

func TestListingsHaveWhatMergingNeeds(t *testing.T) {
	w := newWorld(t, rulesOf(classes{
		"counted": {Kind: Authenticated, CountOnly: true},
		"hidden":  {Kind: Authenticated, Hidden: true},
		"open":    {Kind: Anonymous},
	}))
	a, b, again, guest := w.connect("a<a@x>"), w.connect("b"), w.connect("a"), w.connect("")
	for _, c := range []*client{a, b, again} {
		for _, channel := range []string{"counted", "hidden", "open", "room"} {
			c.join(channel, WatchNone)
		}
	}
	b.leave("room")
	b.leave("counted")
	tests := []struct {
		channel       string
		want, perConn string // "" if not listed
	}{
		{"room", "authenticated [a<a@x>] 0, 1 times", "authenticated [a<a@x> a<a@x>] 0, 2 times"},
		{"counted", "authenticated count only [a<a@x>] 1, 1 times", "authenticated count only [a<a@x> a<a@x>] 2, 2 times"},
		{"open", "anonymous [] 3, 0 times", "anonymous [] 3, 0 times"},
		{"hidden", "", ""},
		{"other", "", ""},
		{a.ID().PrivateChannel(), "private [a<a@x>] 0, 1 times", "private [a<a@x>] 0, 1 times"},
		{guest.ID().PrivateChannel(), "private [] 1, 0 times", "private [] 1, 0 times"},
		{NewID().PrivateChannel(), "", ""},
	}
	for _, tt := range tests {
		for per, want := range map[Per]string{PerUser: tt.want, PerConnection: tt.perConn} {
			l, ok := w.reg.Pods().Listing(w.host().Name(), tt.channel, per)
			if ok != (want != "") || ok && (l.Channel != tt.channel || sharedText(l) != want) {
				t.Errorf("%s, per %v: %+v, %v; want %q", tt.channel, per, l, ok, want)
			}
		}
	}
	for _, per := range []Per{PerUser, PerConnection} {
		all, plain := w.reg.Pods().Listings(w.host().Name(), per), w.host().Channels(per)
		if len(all) != len(plain) {
			t.Fatalf("%d listings, want %d", len(all), len(plain))
		}
		for i, l := range MergeListings(per, all) {
			if l.Channel != all[i].Channel || listingText(l) != listingText(plain[i]) || l.Kind != plain[i].Kind || l.Named() != plain[i].Named() {
				t.Errorf("per %v: merged %+v, want %+v", per, l, plain[i])
			}
		}
	}
}

func TestDescribeUser(t *testing.T) {
	w := newWorld(t, &Rules{})
	first, other, guest, second := w.connect("a"), w.connect("b"), w.connect(""), w.connect("a<a@x>")
	for _, c := range []*client{first, other} {
		c.join("room", WatchNone)
		c.join("hall", WatchNone)
	}
	guest.join("anonymous", WatchNone)
	list := w.host().DescribeUser("a")
	if len(list) != 2 {
		t.Fatalf("%d connections, want 2", len(list))
	}
	for i, c := range []*client{first, second} {
		if got := list[i]; got.ID != c.ID() || got.User != (User{ID: "a", Email: "a@x"}) || got.Out != Outbox(c.in) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if !slices.Equal(list[0].Channels, []string{"hall", "room"}) || len(list[1].Channels) > 0 {
		t.Errorf("channels %q and %q", list[0].Channels, list[1].Channels)
	}
	if list := w.host().DescribeUser(""); len(list) > 0 {
		t.Errorf("%+v of anonymous connections", list)
	}
}
