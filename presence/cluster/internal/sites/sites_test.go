package sites

import (
	"fmt"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func site(sets ...[]string) message.Site { return message.Site{Sets: sets} }

func TestServes(t *testing.T) {
	many := make([]message.Site, 0, 200)
	for i := range 200 { // too many shapes for look-ups
		pattern := "*"
		for j := range 8 {
			pattern += map[bool]string{true: ".*", false: ".x"}[i>>j&1 != 0]
		}
		many = append(many, site([]string{pattern}))
	}
	for _, tc := range []struct {
		name    string
		sites   []message.Site
		yes, no []string
	}{
		{"none", nil, nil, []string{"a.com", "localhost"}},
		{"every host", []message.Site{{}}, []string{"a.com", "::1"}, nil},
		{"names", []message.Site{site([]string{"a.com", "b.com"}), site([]string{"c.com"})}, []string{"a.com", "b.com", "c.com"}, []string{"d.com", "x.a.com", "com"}},
		{"addresses", []message.Site{site([]string{"127.0.0.1", "::1"})}, []string{"127.0.0.1", "::1"}, []string{"127.0.0.2", "::2"}},
		{"a label", []message.Site{site([]string{"*.a.com", "x.*.com"})}, []string{"b.a.com", "x.y.com"}, []string{"a.com", "c.b.a.com", "y.y.com"}},
		{"one label alone", []message.Site{site([]string{"*"})}, []string{"localhost"}, []string{"a.com"}},
		{"part of a label is not a wildcard", []message.Site{site([]string{"a*.com"})}, nil, []string{"ab.com", "a.com"}},
		{"both sets", []message.Site{site([]string{"*.a.com"}, []string{"b.*.com", "c.a.com"})}, []string{"b.a.com", "c.a.com"}, []string{"d.a.com", "b.x.com"}},
		{"one of two sites with sets", []message.Site{site([]string{"a.com"}, []string{"b.com"}), site([]string{"a.com"}, []string{"*.com"})}, []string{"a.com"}, []string{"b.com"}},
		{"an empty set", []message.Site{site([]string{"a.com"}, nil)}, nil, []string{"a.com"}},
		{"too many shapes", many, []string{"anything"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Announce(tc.sites).Served
			for _, host := range tc.yes {
				if !s.Serves(host) {
					t.Errorf("%s is not served", host)
				}
			}
			for _, host := range tc.no {
				if s.Serves(host) {
					t.Errorf("%s is served", host)
				}
			}
		})
	}
}

func TestCovers(t *testing.T) {
	names := []message.Site{site([]string{"a.com", "*.b.com"})}
	for _, tc := range []struct {
		name     string
		s, other []message.Site
		want     bool
	}{
		{"the same", names, names, true},
		{"none", nil, nil, true},
		{"fewer names", names, []message.Site{site([]string{"a.com"})}, true},
		{"more names", []message.Site{site([]string{"a.com"})}, names, false},
		{"names of two sites", []message.Site{site([]string{"a.com"}), site([]string{"*.b.com"})}, names, true},
		{"with events", []message.Site{{Sets: names[0].Sets, Events: true}}, names, true},
		{"every host", []message.Site{{}}, names, true},
		{"not every host", names, []message.Site{{}}, false},
		{"two sets", []message.Site{site([]string{"a.com"}, []string{"*.com"})}, []message.Site{site([]string{"a.com"})}, false},
		{"the same two sets", []message.Site{site([]string{"a.com"}, []string{"*.com"}), names[0]}, []message.Site{site([]string{"a.com"}, []string{"*.com"})}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Announce(tc.s).Served.Covers(Announce(tc.other).Served); got != tc.want {
				t.Errorf("covers: %v", got)
			}
		})
	}
}

func TestSumIsThatOfWhatIsServed(t *testing.T) {
	a := []message.Site{site([]string{"b", "a"}, []string{"c"}), site([]string{"d"})}
	same := []message.Site{site([]string{"d", "d"}), site([]string{"c"}, []string{"a", "b"}), site([]string{"d"})}
	sum := Announce(a).Sum
	if got := Announce(same).Sum; got != sum {
		t.Error("the order changes the sum")
	}
	for _, other := range [][]message.Site{nil, {{}}, a[:1], {site([]string{"ab"}, []string{"c"}), a[1]}, {site([]string{"a", "b", "c"}), a[1]}} {
		if Announce(other).Sum == sum {
			t.Errorf("%v has the same sum", other)
		}
	}
	if a[0].Sets[0][0] != "b" {
		t.Error("the caller's sites were changed")
	}
}

func TestTooManySitesAreAnnouncedAsEveryHost(t *testing.T) {
	var list []message.Site
	for i := range 45_000 { // 1 KB each, more than 64 parts of 512 KB
		list = append(list, site([]string{fmt.Sprintf("%01000d", i)}))
	}
	if a := Announce(list); len(a.Parts) != 1 || !a.Served.every {
		t.Errorf("%d parts, every host: %v", len(a.Parts), a.Served.every)
	}
}
