package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// serving returns the names of the pods that serve the host.
func (p *labPod) serving(t *testing.T, host string) []string {
	t.Helper()
	synctest.Wait()
	names := []string{}
	for _, other := range p.members.Serving(mustHost(t, host), ScopeAll, true) {
		names = append(names, other.Pod)
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
		b.SetSites([]message.Site{clustertest.Site([]string{"b.com"})})
		time.Sleep(2 * time.Second)
		a.wantServing(t, "b.com", "b")
		a.wantServing(t, "c.com")
		b.SetSites([]message.Site{clustertest.Site([]string{"c.com"}), clustertest.Site([]string{"*.c.com"})})
		a.wantServing(t, "b.com") // at once
		a.wantServing(t, "x.c.com", "b")
		b.SetSites([]message.Site{clustertest.Site([]string{"d.com"})})
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
		s := n.Script(t, "dc", "s", 1)
		s.Announce(1) // and it never sends them
		for range 50 {
			s.Beat()
			time.Sleep(100 * time.Millisecond)
		}
		a.wantServing(t, "a.com", "s")
		if got := s.SitesRequested(); got != 5 {
			t.Errorf("asked for its sites %d times in 5 s", got)
		}
	})
}

func TestSitesOfAKnownSumAreNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "dc", "a")
		one, two := n.Script(t, "dc", "one", 1), n.Script(t, "dc", "two", 1)
		one.Serve(clustertest.Site([]string{"x.com"}))
		two.Serve(clustertest.Site([]string{"x.com"}))
		one.Beat()
		two.Beat()
		a.wantServing(t, "x.com", "one", "two")
		a.wantServing(t, "y.com")
		if one.SitesRequested() != 1 || two.SitesRequested() != 0 {
			t.Errorf("asked %d and %d times", one.SitesRequested(), two.SitesRequested())
		}
	})
}

func TestSitesInParts(t *testing.T) {
	var list []message.Site
	for i := range 1000 {
		list = append(list, clustertest.Site([]string{fmt.Sprintf("%01000d.com", i)}))
	}
	parts := sites.Announce(list).Parts
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
		{"too many parts", []*message.Sites{{Sum: parts[0].Sum, Parts: sites.MaxParts + 1}, parts[0]}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &lab{}
				a := n.settled(t, "dc", "a")
				s := n.Script(t, "dc", "s", 1)
				s.Announce(parts[0].Sum, tc.parts...)
				s.Beat()
				if known := len(a.serving(t, "unknown.com")) == 0; known != tc.known {
					t.Errorf("known: %v", known)
				}
				// The next request repairs what went wrong.
				s.Announce(parts[0].Sum, parts...)
				time.Sleep(time.Second)
				s.Beat()
				a.wantServing(t, "unknown.com")
			})
		})
	}
}

func TestUnreachableDataCenter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "x", "a")
		var ys []*script
		for i := range 3 {
			s := n.Script(t, "y", fmt.Sprint("s", i), 1)
			s.Serve(clustertest.Site([]string{fmt.Sprintf("only%d.com", i), "all.com"}))
			ys = append(ys, s)
		}
		z := n.Script(t, "z", "s", 1)
		z.Serve(clustertest.Site([]string{"all.com"}))
		missing := func(host string, scope Scope) []string {
			return sorted(a.members.Unreachable(mustHost(t, host), scope))
		}
		want := func(host string, scope Scope, names ...string) {
			t.Helper()
			synctest.Wait()
			if got := missing(host, scope); !slices.Equal(got, names) {
				t.Errorf("%s: missing %q, want %q", host, got, names)
			}
		}
		ys[1].Beat()
		ys[2].Beat()
		ys[0].Live(6*time.Second, z) // two of three fall silent
		want("all.com", ScopeAll, "y/s1", "y/s2")
		want("only1.com", ScopeAll, "y/s1")
		want("only0.com", ScopeAll)
		want("all.com", ScopeDC)
		a.wantLog(t, 1, "warn data center is unreachable", "dc:y")

		ys[1].Beat() // one of three is silent, and its silence counts anew
		want("all.com", ScopeAll, "y/s2")
		a.wantLog(t, 1, "info data center is reachable again", "dc:y")
		ys[0].Live(6*time.Second, ys[1], z)
		want("all.com", ScopeAll) // it has crashed

		z.Live(6 * time.Second) // the rest of y
		want("all.com", ScopeAll, "y/s0", "y/s1")
		fresh := n.Script(t, "y", "s3", 1) // it does not count, because it came later
		fresh.Serve(clustertest.Site([]string{"all.com"}))
		fresh.Live(10*time.Minute, z)
		want("all.com", ScopeAll, "y/s0", "y/s1")
		again := n.Script(t, "y", "s0", 2) // another run of a missing pod
		again.Serve(clustertest.Site([]string{"all.com"}))
		again.Live(10*time.Minute, fresh, z)
		want("all.com", ScopeAll, "y/s1") // a tie
		if err := a.Forget("y", "s0"); !errors.Is(err, ErrPodHeard) {
			t.Errorf("forgetting a pod that is heard: %v", err)
		}
		if err := a.Forget("y", "s1"); err != nil {
			t.Error(err)
		}
		want("all.com", ScopeAll)
		if err := a.Forget("y", "s1"); !errors.Is(err, ErrPodUnknown) {
			t.Errorf("forgetting a pod twice: %v", err)
		}
		time.Sleep(6 * time.Second)
		want("all.com", ScopeAll, "y/s0", "y/s3", "z/s")
		time.Sleep(24 * time.Hour)
		want("all.com", ScopeAll)
	})
}

func TestOwnDataCenterCountsThisPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &lab{}
		a := n.settled(t, "x", "a")
		one, two := n.Script(t, "x", "one", 1), n.Script(t, "x", "two", 1)
		two.Beat()
		one.Live(6 * time.Second)
		host := mustHost(t, "all.com")
		if got := a.members.Unreachable(host, ScopeDC); len(got) != 0 {
			t.Errorf("one of three lost: %q", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := a.members.Unreachable(host, ScopeDC); !slices.Equal(got, []string{"x/one"}) {
			t.Errorf("one of the two others lost: %q", got)
		}
		if _, _, truth := a.Users(t.Context(), host, ScopePod, presence.PerUser, presence.Page{}); !truth.Complete || len(truth.Missing) > 0 {
			t.Errorf("of this pod alone: %+v", truth)
		}
		if _, _, truth := a.Users(t.Context(), host, ScopeDC, presence.PerUser, presence.Page{}); truth.Complete || len(truth.Missing) != 1 {
			t.Errorf("of the data center: %+v", truth)
		}
	})
}
