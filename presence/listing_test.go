package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// salesRoom returns the host of the endpoints' specification: USER_1 with two tabs, USER_2 with
// one, and three anonymous connections.
func salesRoom(t *testing.T) *world {
	w := newWorld(t, rulesOf(classes{
		"anonymousChat": {Kind: Anonymous},
		"counted":       {Kind: Authenticated, CountOnly: true},
		"hidden":        {Kind: Authenticated, Hidden: true},
		"hidden lobby":  {Kind: Anonymous, Hidden: true},
	}))
	for _, user := range []string{"USER_1<a@example.com>", "USER_1<a@example.com>", "USER_2<b@example.com>"} {
		c := w.connect(user)
		for _, channel := range []string{"salesRoom", "counted", "hidden", "hidden lobby"} {
			c.join(channel, WatchNone)
		}
	}
	for range 3 {
		c := w.connect("")
		c.join("anonymousChat", WatchNone)
		c.join("hidden lobby", WatchNone)
	}
	return w
}

func TestChannels(t *testing.T) {
	w := salesRoom(t)
	tests := []struct {
		name string
		per  Per
		want []string
	}{
		{"one entry a user", PerUser, []string{
			"anonymousChat 3", "counted 2", "salesRoom [USER_1<a@example.com> USER_2<b@example.com>]",
		}},
		{"one entry a connection", PerConnection, []string{
			"anonymousChat 3", "counted 3",
			"salesRoom [USER_1<a@example.com> USER_1<a@example.com> USER_2<b@example.com>]",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantLines(t, w.channels(tt.per), tt.want...)
			var private []string
			for _, l := range w.host().Channels(tt.per) {
				if l.Kind == Private {
					if !strings.HasPrefix(l.Channel, PrivatePrefix) || len(l.Channel) != len(PrivatePrefix)+22 {
						t.Errorf("a private channel is called %q", l.Channel)
					}
					private = append(private, strings.TrimPrefix(listingText(l), l.Channel))
				}
			}
			slices.Sort(private)
			want := []string{
				" 1", " 1", " 1", " [USER_1<a@example.com>]", " [USER_1<a@example.com>]", " [USER_2<b@example.com>]",
			}
			if !slices.Equal(private, want) {
				t.Errorf("private channels %q, want %q", private, want)
			}
		})
	}
}

func TestActiveChannels(t *testing.T) {
	want := []Listing{
		{Channel: "anonymousChat", Kind: Anonymous},
		{Channel: "counted", Kind: Authenticated, CountOnly: true},
		{Channel: "salesRoom", Kind: Authenticated},
	}
	equalLines(t, "names", namesTexts(salesRoom(t).host().ActiveChannels()), namesTexts(want))
}

func TestChannel(t *testing.T) {
	w := salesRoom(t)
	user := User{ID: "USER_2", Email: "b@example.com"}
	logged, anonymous := w.connect("USER_2"), w.connect("")
	tests := []struct {
		channel string
		want    Listing // zero if the channel is not listed
	}{
		{"anonymousChat", Listing{Channel: "anonymousChat", Kind: Anonymous, Count: 3}},
		{"counted", Listing{Channel: "counted", Kind: Authenticated, Count: 2, CountOnly: true}},
		{"hidden", Listing{}},
		{"hidden lobby", Listing{}},
		{"nowhere", Listing{}},
		{"", Listing{}},
		{
			logged.ID().PrivateChannel(),
			Listing{Channel: logged.ID().PrivateChannel(), Kind: Private, Users: []User{user}},
		},
		{
			anonymous.ID().PrivateChannel(),
			Listing{Channel: anonymous.ID().PrivateChannel(), Kind: Private, Count: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.channel, func(t *testing.T) {
			got, ok := w.host().Channel(tt.channel, PerUser)
			if ok != (tt.want.Channel != "") || got.Channel != tt.want.Channel || got.Kind != tt.want.Kind ||
				got.Count != tt.want.Count || got.CountOnly != tt.want.CountOnly || !slices.Equal(got.Users, tt.want.Users) {
				t.Errorf("got %+v, %v; want %+v", got, ok, tt.want)
			}
		})
	}
}

func TestChannelPerConnectionAndPerUser(t *testing.T) {
	w := salesRoom(t)
	for channel, want := range map[string][2]string{
		"salesRoom": {
			"salesRoom [USER_1<a@example.com> USER_2<b@example.com>]",
			"salesRoom [USER_1<a@example.com> USER_1<a@example.com> USER_2<b@example.com>]",
		},
		"counted":       {"counted 2", "counted 3"},
		"anonymousChat": {"anonymousChat 3", "anonymousChat 3"},
	} {
		for i, per := range []Per{PerUser, PerConnection} {
			if l, ok := w.host().Channel(channel, per); !ok || listingText(l) != want[i] {
				t.Errorf("per %v: %q, %v; want %q", per, listingText(l), ok, want[i])
			}
		}
	}
}

func TestChannelOfAMalformedPrivateName(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	id := c.ID().String()
	// The last character has two bits of the ID and four bits that must be zero.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", id[21])
	sameBytes := id[:21] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last+1])
	for _, text := range []string{
		"", "x", id[:21], id + "A", id + "==", " " + id, sameBytes, strings.Repeat("\n", 22), strings.Repeat("é", 11), NewID().String(),
	} {
		if l, ok := w.host().Channel(PrivatePrefix+text, PerUser); ok {
			t.Errorf("%q is listed as %+v", text, l)
		}
	}
	if _, ok := w.host().Channel(PrivatePrefix+id, PerUser); !ok {
		t.Error("its right name is not listed")
	}
}

func TestUsersAndStats(t *testing.T) {
	w := salesRoom(t)
	stats := Stats{Conns: 6, Anonymous: 3, LoggedIn: 3, Users: 2, Channels: 5}
	if got := w.host().Stats(); got != stats {
		t.Errorf("stats %+v, want %+v", got, stats)
	}
	for per, want := range map[Per][]string{
		PerUser:       {"USER_1<a@example.com>", "USER_2<b@example.com>"},
		PerConnection: {"USER_1<a@example.com>", "USER_1<a@example.com>", "USER_2<b@example.com>"},
	} {
		users, got := w.host().Users(per)
		if !slices.Equal(userTexts(users), want) || got != stats {
			t.Errorf("per %v: %q with %+v, want %q with %+v", per, userTexts(users), got, want, stats)
		}
	}
}

// A listing belongs to its caller: later changes do not affect it.
func TestListingsAreCopies(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("b").join("room", WatchNone)
	c := w.connect("a<1@x>")
	c.join("room", WatchNone)
	before, _ := w.host().Channel("room", PerUser)
	users, _ := w.host().Users(PerUser)
	c.authenticate("a<2@x>")
	c.Close()
	for name, got := range map[string][]User{"Channel": before.Users, "Users": users} {
		if !slices.Equal(userTexts(got), []string{"a<1@x>", "b"}) {
			t.Errorf("%s: %q", name, userTexts(got))
		}
	}
}

func TestListingsAreInOrder(t *testing.T) {
	w := newWorld(t, &Rules{})
	clients := []*client{w.connect("c"), w.connect("a"), w.connect(""), w.connect("c"), w.connect("b")}
	for i, c := range clients {
		if i != 2 {
			c.join("room", WatchNone)
			c.join("other", WatchNone)
			c.join(fmt.Sprintf("%d", 9-i), WatchNone)
		}
	}
	var names []string
	for _, l := range w.host().Channels(PerUser) {
		names = append(names, l.Channel)
	}
	want := []string{"5", "6", "8", "9", "other", "room"}
	for _, c := range clients {
		want = append(want, c.ID().PrivateChannel())
	}
	if !slices.Equal(names, want) {
		t.Errorf("channels %q, want those with a name in its order and then %q", names, want[6:])
	}

	inOrder := func(users []User) (ids string) {
		for _, u := range users {
			ids += u.ID
		}
		return ids
	}
	l, _ := w.host().Channel("room", PerUser)
	users, _ := w.host().Users(PerUser)
	rawUsers, _ := w.host().Users(PerConnection)
	raw, _ := w.host().Channel("room", PerConnection)
	for name, got := range map[string][2]string{
		"channel":     {inOrder(l.Users), "cab"},
		"users":       {inOrder(users), "cab"},
		"raw channel": {inOrder(raw.Users), "cacb"},
		"raw users":   {inOrder(rawUsers), "cacb"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want the order of arrival %s", name, got[0], got[1])
		}
	}
}

func TestOutboxes(t *testing.T) {
	w := newWorld(t, &Rules{})
	clients := []*client{w.connect("a"), w.connect("a"), w.connect("")}
	clients[0].Close()
	got := w.host().Outboxes()
	if len(got) != 2 || !slices.Contains(got, Outbox(clients[1].in)) || !slices.Contains(got, Outbox(clients[2].in)) {
		t.Errorf("outboxes %v, want those of the two that are left", got)
	}
}
