package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
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
			s := announce(tc.sites).served
			for _, host := range tc.yes {
				if !s.serves(host) {
					t.Errorf("%s is not served", host)
				}
			}
			for _, host := range tc.no {
				if s.serves(host) {
					t.Errorf("%s is served", host)
				}
			}
		})
	}
}

func TestSumIsThatOfWhatIsServed(t *testing.T) {
	a := []message.Site{site([]string{"b", "a"}, []string{"c"}), site([]string{"d"})}
	same := []message.Site{site([]string{"d", "d"}), site([]string{"c"}, []string{"a", "b"}), site([]string{"d"})}
	sum := announce(a).sum
	if got := announce(same).sum; got != sum {
		t.Error("the order changes the sum")
	}
	for _, other := range [][]message.Site{nil, {{}}, a[:1], {site([]string{"ab"}, []string{"c"}), a[1]}, {site([]string{"a", "b", "c"}), a[1]}} {
		if announce(other).sum == sum {
			t.Errorf("%v has the same sum", other)
		}
	}
	if a[0].Sets[0][0] != "b" {
		t.Error("the caller's sites were changed")
	}
}

func TestTooManySitesAreAnnouncedAsEveryHost(t *testing.T) {
	var sites []message.Site
	for i := range 45_000 { // 1 KB each, more than 64 parts of 512 KB
		sites = append(sites, site([]string{fmt.Sprintf("%01000d", i)}))
	}
	if a := announce(sites); len(a.parts) != 1 || !a.served.every {
		t.Errorf("%d parts, every host: %v", len(a.parts), a.served.every)
	}
}

// serving returns the names of the pods that serve the host.
func (p *labPod) serving(t *testing.T, host string) []string {
	t.Helper()
	synctest.Wait()
	names := []string{}
	for _, other := range p.members.serving(mustHost(t, host), ScopeAll, true) {
		names = append(names, other.pod)
	}
	slices.Sort(names)
	return names
}

func (p *labPod) wantServing(t *testing.T, host string, want ...string) {
	t.Helper()
	if got := p.serving(t, host); !slices.Equal(got, want) {
		t.Errorf("%s is served by %q, want %q", host, got, want)
	}
}

func TestSitesAreAskedForAndHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a, b := n.settled(t, "dc", "a"), n.start(t, "dc", "b")
		b.SetSites([]message.Site{site([]string{"b.com"})})
		time.Sleep(2 * time.Second)
		a.wantServing(t, "b.com", "b")
		a.wantServing(t, "c.com")
		b.SetSites([]message.Site{site([]string{"c.com"}), site([]string{"*.c.com"})})
		a.wantServing(t, "b.com") // at once
		a.wantServing(t, "x.c.com", "b")
		b.SetSites([]message.Site{site([]string{"d.com"})})
		a.wantServing(t, "b.com", "b") // it may serve it: it was queried less than a second ago
		time.Sleep(2 * time.Second)
		a.wantServing(t, "b.com")
		a.wantServing(t, "d.com", "b")
		b.wantServing(t, "anything", "a")
	})
}

func TestSitesNotKnownMeanEveryHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		s := n.script(t, "dc", "s", 1)
		s.sum = 1 // and it never sends them
		for range 50 {
			s.beat()
			time.Sleep(100 * time.Millisecond)
		}
		a.wantServing(t, "a.com", "s")
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.asked) != 5 {
			t.Errorf("asked for its sites %d times in 5 s", len(s.asked))
		}
	})
}

func TestSitesOfAKnownSumAreNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		one, two := n.script(t, "dc", "one", 1), n.script(t, "dc", "two", 1)
		one.serve(site([]string{"x.com"}))
		two.serve(site([]string{"x.com"}))
		one.beat()
		two.beat()
		a.wantServing(t, "x.com", "one", "two")
		a.wantServing(t, "y.com")
		if len(one.asked) != 1 || len(two.asked) != 0 {
			t.Errorf("asked %d and %d times", len(one.asked), len(two.asked))
		}
	})
}

func TestSitesInParts(t *testing.T) {
	var sites []message.Site
	for i := range 1000 {
		sites = append(sites, site([]string{fmt.Sprintf("%01000d.com", i)}))
	}
	parts := announce(sites).parts
	if len(parts) != 2 {
		t.Fatalf("%d parts", len(parts))
	}
	other := *parts[1]
	other.Sites = other.Sites[1:]
	for _, tc := range []struct {
		name  string
		parts []*message.Sites
		known bool
	}{
		{"in order", parts, true},
		{"out of order", []*message.Sites{parts[1], parts[0]}, true},
		{"twice", []*message.Sites{parts[0], parts[0], parts[1], parts[1]}, true},
		{"one missing", parts[:1], false},
		{"not what the sum says", []*message.Sites{parts[0], &other}, false},
		{"of another sum", []*message.Sites{parts[0], {Sum: 1, Part: 1, Parts: 2, Sites: parts[1].Sites}}, false},
		{"another number of parts", []*message.Sites{parts[0], {Sum: parts[1].Sum, Part: 1, Parts: 3, Sites: parts[1].Sites}}, false},
		{"too many parts", []*message.Sites{{Sum: parts[0].Sum, Parts: maxSiteParts + 1}, parts[0]}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				a := n.settled(t, "dc", "a")
				s := n.script(t, "dc", "s", 1)
				s.sum, s.sites = parts[0].Sum, tc.parts
				s.beat()
				if known := len(a.serving(t, "unknown.com")) == 0; known != tc.known {
					t.Errorf("known: %v", known)
				}
				// The next request repairs what went wrong.
				s.mu.Lock()
				s.sites = parts
				s.mu.Unlock()
				time.Sleep(time.Second)
				s.beat()
				a.wantServing(t, "unknown.com")
			})
		})
	}
}

func TestSitesInAssemblyAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		big := make([]message.Site, 450)
		for i := range big {
			big[i] = site([]string{fmt.Sprintf("%01000d", i)})
		}
		for i := range 4 {
			s := n.script(t, "dc", fmt.Sprint("s", i), 1)
			s.sum = uint64(i + 1)
			s.beat()
			for part := range uint32(maxSiteParts - 1) { // never the last one
				a.members.handle(s.peer(), &message.Sites{Sum: s.sum, Part: part, Parts: maxSiteParts, Sites: big})
			}
		}
		a.members.mu.RLock()
		defer a.members.mu.RUnlock()
		if got := a.members.assembling(); got > maxSiteBytes {
			t.Errorf("%d bytes in assembly", got)
		}
		if got := a.link.ignored().Oversized; got == 0 {
			t.Error("nothing was counted")
		}
	})
}

func TestUnreachableDataCenter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "x", "a")
		var ys []*script
		for i := range 3 {
			s := n.script(t, "y", fmt.Sprint("s", i), 1)
			s.serve(site([]string{fmt.Sprintf("only%d.com", i), "all.com"}))
			ys = append(ys, s)
		}
		z := n.script(t, "z", "s", 1)
		z.serve(site([]string{"all.com"}))
		missing := func(host string, scope Scope) []string {
			return distinct(a.members.unreachable(mustHost(t, host), scope))
		}
		want := func(host string, scope Scope, names ...string) {
			t.Helper()
			synctest.Wait()
			if got := missing(host, scope); !slices.Equal(got, names) {
				t.Errorf("%s: missing %q, want %q", host, got, names)
			}
		}
		ys[1].beat()
		ys[2].beat()
		ys[0].live(6*time.Second, z) // two of three fall silent
		want("all.com", ScopeAll, "y/s1", "y/s2")
		want("only1.com", ScopeAll, "y/s1")
		want("only0.com", ScopeAll)
		want("all.com", ScopeDC)
		a.wantLog(t, 1, "warn data center is unreachable", "dc:y")

		ys[1].beat() // one of three is silent: it has crashed
		want("all.com", ScopeAll)
		a.wantLog(t, 1, "info data center is reachable again", "dc:y")

		z.live(6 * time.Second) // all of y
		want("all.com", ScopeAll, "y/s0", "y/s1", "y/s2")
		again := n.script(t, "y", "s2", 2) // another incarnation of it
		again.serve(site([]string{"all.com"}))
		again.live(0)
		want("all.com", ScopeAll, "y/s0", "y/s1")
		again.live(10*time.Minute, z)
		want("all.com", ScopeAll, "y/s0", "y/s1") // while it is unreachable
		ys[0].live(10*time.Minute, again, z)
		want("all.com", ScopeAll)
		if a.state(ys[1].peer()) != "" {
			t.Error("a crashed pod is remembered after 10 minutes")
		}
		time.Sleep(6 * time.Second)
		want("all.com", ScopeAll, "y/s0", "y/s2", "z/s")
		time.Sleep(24 * time.Hour)
		want("all.com", ScopeAll)
	})
}

func TestOwnDataCenterCountsThisPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "x", "a")
		one, two := n.script(t, "x", "one", 1), n.script(t, "x", "two", 1)
		two.beat()
		one.live(6 * time.Second)
		host := mustHost(t, "all.com")
		if got := a.members.unreachable(host, ScopeDC); len(got) != 0 {
			t.Errorf("one of three lost: %q", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := distinct(a.members.unreachable(host, ScopeDC)); !slices.Equal(got, []string{"x/one", "x/two"}) {
			t.Errorf("two of three lost: %q", got)
		}
		if _, truth := a.Users(t.Context(), host, ScopePod, presence.PerUser); !truth.Complete || len(truth.Missing) > 0 {
			t.Errorf("of this pod alone: %+v", truth)
		}
		if _, truth := a.Users(t.Context(), host, ScopeDC, presence.PerUser); truth.Complete || len(truth.Missing) != 2 {
			t.Errorf("of the data center: %+v", truth)
		}
	})
}
