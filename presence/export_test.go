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
	for _, raw := range []bool{false, true} {
		users, stats := w.host().Users(raw)
		members, memberStats := w.host().Members(raw)
		if stats != memberStats || len(members) != len(users) {
			t.Fatalf("raw %v: %d members with %+v, %d users with %+v", raw, len(members), memberStats, len(users), stats)
		}
		for i, m := range members {
			if m.User != users[i] || (m.Email == "") != (m.Seen == 0) || m.Seen != 0 && m.Seen < before {
				t.Errorf("raw %v: %+v of %+v", raw, m, users[i])
			}
		}
	}
}

// sharedText writes a listing as listingText does, with the kind, the flag, all users and how many times there are.
func sharedText(l Listing) string {
	flag := ""
	if l.CountOnly {
		flag = " count only"
	}
	return fmt.Sprintf("%s%s %s %d, %d times", l.Kind, flag, userTexts(l.Users), l.Count, len(l.Seen))
}

func TestSharedHasWhatMergingTakes(t *testing.T) {
	w := newWorld(t, rulesOf(classes{
		"counted": {Kind: Authenticated, CountOnly: true},
		"hidden":  {Kind: Authenticated, Hidden: true},
		"open":    {Kind: Anonymous},
	}))
	a, b, again, nobody := w.connect("a<a@x>"), w.connect("b"), w.connect("a"), w.connect("")
	for _, c := range []*client{a, b, again} {
		for _, channel := range []string{"counted", "hidden", "open", "room"} {
			c.join(channel, WatchNone)
		}
	}
	b.leave("room")
	b.leave("counted")
	tests := []struct {
		channel   string
		want, raw string // "" for none
	}{
		{"room", "authenticated [a<a@x>] 0, 1 times", "authenticated [a<a@x> a<a@x>] 0, 2 times"},
		{"counted", "authenticated count only [a<a@x>] 1, 1 times", "authenticated count only [a<a@x> a<a@x>] 2, 2 times"},
		{"open", "anonymous [] 3, 0 times", "anonymous [] 3, 0 times"},
		{"hidden", "", ""},
		{"other", "", ""},
		{a.ID().PrivateChannel(), "private [a<a@x>] 0, 1 times", "private [a<a@x>] 0, 1 times"},
		{nobody.ID().PrivateChannel(), "private [] 1, 0 times", "private [] 1, 0 times"},
		{NewID().PrivateChannel(), "", ""},
	}
	for _, tt := range tests {
		for raw, want := range map[bool]string{false: tt.want, true: tt.raw} {
			list := w.host().Shared(tt.channel, raw)
			if want == "" && len(list) == 0 {
				continue
			}
			if len(list) != 1 || list[0].Channel != tt.channel || sharedText(list[0]) != want {
				t.Errorf("%s, raw %v: %+v, want %q", tt.channel, raw, list, want)
			}
		}
	}
	for _, raw := range []bool{false, true} {
		all, plain := w.host().Shared("", raw), w.host().Channels(raw)
		if len(all) != len(plain) {
			t.Fatalf("%d listings, want %d", len(all), len(plain))
		}
		for i, l := range MergeListings(raw, all) {
			if l.Channel != all[i].Channel || listingText(l) != listingText(plain[i]) || l.Kind != plain[i].Kind || l.Named() != plain[i].Named() {
				t.Errorf("raw %v: merged %+v, want %+v", raw, l, plain[i])
			}
		}
	}
}

func TestConnectionsOfAUser(t *testing.T) {
	w := newWorld(t, &Rules{})
	first, other, nobody, second := w.connect("a"), w.connect("b"), w.connect(""), w.connect("a<a@x>")
	for _, c := range []*client{first, other} {
		c.join("room", WatchNone)
		c.join("hall", WatchNone)
	}
	nobody.join("anonymous", WatchNone)
	list := w.host().Connections("a")
	if len(list) != 2 {
		t.Fatalf("%d connections, want 2", len(list))
	}
	for i, c := range []*client{first, second} {
		if got := list[i]; got.ID != c.ID() || got.User != (User{"a", "a@x"}) || got.Out != Outbox(c.in) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if !slices.Equal(list[0].Channels, []string{"hall", "room"}) || len(list[1].Channels) > 0 {
		t.Errorf("channels %q and %q", list[0].Channels, list[1].Channels)
	}
	if list := w.host().Connections(""); len(list) > 0 {
		t.Errorf("%+v are nobody's", list)
	}
}
