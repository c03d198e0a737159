package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestListeners(t *testing.T) {
	w := salesRoom(t)
	h := w.host()
	for _, tt := range []struct {
		name string
		l    Listeners
		want string
	}{
		{"of a channel", Listeners{Channel: "salesRoom"}, "salesRoom 2 authenticated: USER_1<a@example.com> USER_1<a@example.com> USER_2<b@example.com>"},
		{"first page", Listeners{Channel: "salesRoom", Limit: 1}, "salesRoom 2 authenticated: USER_1<a@example.com> USER_1<a@example.com>"},
		{"next page", Listeners{Channel: "salesRoom", After: "USER_1", Limit: 1}, "salesRoom 2 authenticated: USER_2<b@example.com>"},
		{"after the last", Listeners{Channel: "salesRoom", After: "USER_2"}, "salesRoom 2 authenticated:"},
		{"that only counts", Listeners{Channel: "counted"}, "counted 2 authenticated:"},
		{"of connections", Listeners{Channel: "anonymousChat"}, "anonymousChat 3 anonymous:"},
		{"hidden", Listeners{Channel: "hidden"}, "none"},
		{"hidden, of connections", Listeners{Channel: "hidden lobby"}, "none"},
		{"not active", Listeners{Channel: "nothing"}, "none"},
		{"of the host", Listeners{}, " 0 unknown: USER_1<a@example.com> USER_1<a@example.com> USER_2<b@example.com>"},
		{"of the host, a page", Listeners{After: "USER_1", Limit: 5}, " 0 unknown: USER_2<b@example.com>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			of, list, ok := h.Listeners(tt.l)
			if !ok {
				if tt.want != "none" || list != nil {
					t.Errorf("none and %v, want %q", list, tt.want)
				}
				return
			}
			kind := "unknown"
			if of.Kind != 0 {
				kind = of.Kind.String()
			}
			var b strings.Builder
			fmt.Fprintf(&b, "%s %d %s:", of.Channel, of.Count, kind)
			var seen []ID
			for _, c := range list {
				fmt.Fprintf(&b, " %s<%s>", c.User.ID, c.User.Email)
				if c.Out == nil || slices.Contains(seen, c.ID) {
					t.Errorf("connection %v", c)
				}
				seen = append(seen, c.ID)
			}
			if b.String() != tt.want {
				t.Errorf("%q, want %q", b.String(), tt.want)
			}
		})
	}
	if s := h.FullStats(); s.Channels != 5 || s.Hidden != 2 {
		t.Errorf("stats %+v", s)
	}
}

// Pages have every user once, whatever their number.
func TestPagesOfListeners(t *testing.T) {
	w := newWorld(t, &Rules{})
	var want []string
	for i := range 50 {
		id := fmt.Sprintf("u%02d", i)
		w.connect(id).join("room", WatchNone)
		want = append(want, id)
	}
	for _, channel := range []string{"", "room"} {
		var got []string
		for after, more := "", true; more; {
			_, list, _ := w.host().Listeners(Listeners{Channel: channel, After: after, Limit: 7})
			for _, c := range list {
				got = append(got, c.User.ID)
			}
			if more = len(list) == 7; more {
				after = list[6].User.ID
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q", channel, got)
		}
	}
}

// A member that an entry describes is listed as in [Host.Channel].
func TestListenersWithAnIdentity(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("")
	if err := c.Enter("room", Entry{Proof: true, Member: &Identity{ID: "ann"}}); err != nil {
		t.Fatal(err)
	}
	_, list, ok := w.host().Listeners(Listeners{Channel: "room"})
	if !ok || len(list) != 1 || list[0].User.ID != "ann" || list[0].ID != c.ID() {
		t.Errorf("%v, %v", list, ok)
	}
}
