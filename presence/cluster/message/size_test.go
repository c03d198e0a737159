package message

import (
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestSizesAreExact(t *testing.T) {
	size := func(write func(*encoder)) int {
		e := encoder{}
		write(&e)
		return len(e.b)
	}
	for _, seen := range []int64{0, 1, -1, 63, 64, -64, -65, 1_700_000_000_000, 1<<63 - 1, -1 << 63} {
		for _, n := range []int{0, 1, 127, 128, 256} {
			m := member(strings.Repeat("u", n), strings.Repeat("e", n/2), seen)
			if got, want := memberSize(&m), size(func(e *encoder) { e.member(&m) }); got != want {
				t.Errorf("a member of %d bytes, seen %d: %d, want %d", n, seen, got, want)
			}
			d := presence.Departure{ID: m.ID}
			if got, want := departureSize(&d), size(func(e *encoder) { e.userID(d.ID); e.flags(d.Lost) }); got != want {
				t.Errorf("a departure of %d bytes: %d, want %d", n, got, want)
			}
		}
	}
	for _, s := range samples() {
		switch m := s.m.(type) {
		case *Reply:
			for _, l := range m.Channels {
				want := size(func(e *encoder) { e.listing(&l) })
				for i := range l.Users {
					want -= userSize(&l.Users[i])
				}
				for _, seen := range l.Seen {
					want -= timeSize(seen)
				}
				if l.Details != nil {
					details := size(func(e *encoder) { e.details(listingMembers(&l), false) })
					want -= details
					limit := numberLimit
					for i := range l.Details {
						limit += listedDetailSize(&l.Users[i], l.Details[i])
					}
					if details > limit {
						t.Errorf("%s: the details take %d bytes, more than %d", s.name, details, limit)
					}
				}
				if got := listingSize(&l); got != want {
					t.Errorf("%s: the listing %+v takes %d, want %d", s.name, l, got, want)
				}
			}
			for _, c := range m.Conns {
				want := size(func(e *encoder) { e.connection(&c) })
				for i := range c.Channels {
					want -= textSize(&c.Channels[i])
				}
				if got := connectionSize(&c); got != want {
					t.Errorf("%s: the connection %+v takes %d, want %d", s.name, c, got, want)
				}
			}
		case *Details:
			for i := range m.Users {
				if got, want := userDetailSize(&m.Users[i]), size(func(e *encoder) { e.detail(&m.Users[i]) }); got != want {
					t.Errorf("%s: the user %+v takes %d, want %d", s.name, m.Users[i], got, want)
				}
			}
		case *Sites:
			want := size(func(e *encoder) { e.sites(m) }) - size(func(e *encoder) { e.sites(&Sites{Part: m.Part, Parts: m.Parts}) })
			got := 0
			for i := range m.Sites {
				got += siteSize(&m.Sites[i])
			}
			if got != want {
				t.Errorf("%s: the sites take %d, want %d", s.name, got, want)
			}
		}
	}
	longest := member(strings.Repeat("u", presence.MaxUserID), strings.Repeat("e", presence.MaxEmail), -1<<63)
	if got := size(func(e *encoder) { e.member(&longest) }); got != memberLimit {
		t.Errorf("the longest user takes %d bytes, not %d", got, memberLimit)
	}
	if got := size(func(e *encoder) { e.channel(strings.Repeat("c", presence.MaxChannelName)) }); got != channelLimit {
		t.Errorf("the longest channel takes %d bytes, not %d", got, channelLimit)
	}
}
