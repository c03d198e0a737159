package presence

import (
	"slices"
	"testing"
)

// listed returns a listing of users, written as in parseUser, whose addresses were learned at one
// time.
func listed(class Class, seen int64, users ...string) Listing {
	l := Listing{Channel: "room", Kind: class.Kind, CountOnly: class.CountOnly}
	for _, user := range users {
		l.Users = append(l.Users, *parseUser(user))
		l.Seen = append(l.Seen, seen)
	}
	if class.CountOnly {
		l.Count = len(users)
	}
	return l
}

func number(n int) Listing { return Listing{Channel: "room", Kind: Anonymous, Count: n} }

func TestMergeListings(t *testing.T) {
	named, counted := Class{Kind: Authenticated}, Class{Kind: Authenticated, CountOnly: true}
	tests := []struct {
		name          string
		parts         []Listing // one of each pod
		want, perConn string
	}{
		{"one pod", []Listing{listed(named, 1, "a", "b<b@x>")}, "room [a b<b@x>]", "room [a b<b@x>]"},
		{"no user", []Listing{{Channel: "room", Kind: Authenticated}}, "room []", "room []"},
		{"two pods", []Listing{listed(named, 1, "a", "b"), listed(named, 1, "b", "c")}, "room [a b c]", "room [a b b c]"},
		{
			"the later address",
			[]Listing{listed(named, 1, "a<1@x>", "b<1@x>"), listed(named, 2, "a<2@x>", "b")},
			"room [a<2@x> b<1@x>]", "room [a<2@x> a<2@x> b<1@x> b<1@x>]",
		},
		{
			"the later address first",
			[]Listing{listed(named, 2, "a<2@x>"), listed(named, 1, "a<1@x>")},
			"room [a<2@x>]", "room [a<2@x> a<2@x>]",
		},
		{
			"without times",
			[]Listing{listed(named, 1, "a<1@x>"), {Channel: "room", Kind: Authenticated, Users: []User{{ID: "a", Email: "2@x"}}}},
			"room [a<1@x>]", "room [a<1@x> a<1@x>]",
		},
		{"counted", []Listing{listed(counted, 1, "a", "b")}, "room 2", "room 2"},
		{"counted on two pods", []Listing{listed(counted, 1, "a", "b"), listed(counted, 1, "b", "c")}, "room 3", "room 4"},
		{"counted on one of two", []Listing{listed(named, 1, "a", "b"), listed(counted, 1, "b", "c")}, "room 3", "room 4"},
		{"counted on the first of two", []Listing{listed(counted, 1, "a", "b"), listed(named, 1, "b", "c")}, "room 3", "room 4"},
		{"anonymous", []Listing{number(2), number(3), number(4)}, "room 9", "room 9"},
		{"anonymous on one of two", []Listing{listed(named, 1, "a"), number(3)}, "room [a]", "room [a]"},
		{"anonymous on the first ones", []Listing{number(3), number(2), listed(named, 1, "a")}, "room [a]", "room [a]"},
		{"anonymous and counted", []Listing{number(3), listed(counted, 1, "a")}, "room 1", "room 1"},
		{
			"anonymous, with names that it must not have",
			[]Listing{{Channel: "room", Kind: Anonymous, Users: []User{{ID: "x"}}}, number(2), listed(named, 1, "a")},
			"room [a]", "room [a]",
		},
		{"of no kind, then private", []Listing{number(3), {Channel: "room", Kind: Private, Count: 1}}, "room 3", "room 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for per, want := range map[Per]string{PerUser: tt.want, PerConnection: tt.perConn} {
				apart := make([][]Listing, len(tt.parts))
				for i, l := range tt.parts {
					apart[i] = []Listing{l}
				}
				for _, parts := range [][][]Listing{apart, {tt.parts}} { // or all of one pod
					got := MergeListings(per, parts...)
					if len(got) != 1 || listingText(got[0]) != want || got[0].Seen != nil {
						t.Errorf("per %v: %+v, want %s", per, got, want)
					}
					if l := got[0]; l.Named() != (l.Users != nil) {
						t.Errorf("per %v: named %v with users %v", per, l.Named(), l.Users)
					}
				}
			}
		})
	}
}

func TestMergeListingsKeepsTheOrder(t *testing.T) {
	private := func(name string) Listing { return Listing{Channel: PrivatePrefix + name, Kind: Private, Count: 1} }
	b := listed(Class{Kind: Authenticated}, 1, "u")
	b.Channel = "b"
	var names []string
	for _, l := range MergeListings(PerUser,
		[]Listing{number(1), private("2")}, nil, []Listing{b, private("1"), private("2")}, []Listing{number(1)}) {
		names = append(names, l.Channel)
	}
	if want := []string{"b", "room", "tab|2", "tab|1"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
	if got := MergeListings(PerUser); len(got) != 0 {
		t.Errorf("nothing makes %+v", got)
	}
}

func TestMergeMembers(t *testing.T) {
	first := []Member{{User: User{ID: "c", Email: ""}, Seen: 0}, {User: User{ID: "a", Email: "1@x"}, Seen: 5}, {User: User{ID: "b", Email: "b@x"}, Seen: 9}}
	second := []Member{{User: User{ID: "b", Email: ""}, Seen: 0}, {User: User{ID: "a", Email: "2@x"}, Seen: 6}}
	if got, want := MergeMembers(PerUser, first, nil, second), []User{{ID: "a", Email: "2@x"}, {ID: "b", Email: "b@x"}, {ID: "c", Email: ""}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	raw := MergeMembers(PerConnection, first, second)
	if want := []User{{ID: "a", Email: "2@x"}, {ID: "a", Email: "2@x"}, {ID: "b", Email: "b@x"}, {ID: "b", Email: "b@x"}, {ID: "c", Email: ""}}; !slices.Equal(raw, want) {
		t.Errorf("%v, want %v", raw, want)
	}
	if got := MergeMembers(PerUser); len(got) != 0 {
		t.Errorf("nothing makes %v", got)
	}
}
