package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// TestDataCentersThatLoseEachOther cuts the cable between two data centers. During the cut, each
// side answers in time and names all pods of the other as missing. Within five seconds after its
// end, everything is as before, and no user is left over or lost.
func TestDataCentersThatLoseEachOther(t *testing.T) {
	t.Parallel()
	const (
		grace      = time.Second
		deadline   = 1500 * time.Millisecond // of answers across data centers
		slack      = time.Second             // what a busy machine adds
		partition  = 10 * time.Second        // twice the time until a pod counts as gone
		healsAfter = 5 * time.Second
	)
	names := podNames(2, "eu-west", "us-east")
	c := newContinents(t, names)
	pods := c.deployApart(t, "grace "+grace.String())
	s := newScene(t, pods)
	sides := [2]deployment{pods[:2], pods[2:]}
	outlooks := [2]*cluster.Outlook{cluster.NewOutlook(names), cluster.NewOutlook(names)}
	// each calls do for each pod on the other side of an outlook.
	each := func(do func(o *cluster.Outlook, other cluster.Pod)) {
		for i, o := range outlooks {
			for _, other := range sides[1-i] {
				do(o, other.Pod)
			}
		}
	}
	moves, moved := s.resident(pods[0], "moves")
	everybody := append(s.members(), "moves")
	slices.Sort(everybody)
	s.awaitViews(pods, everybody)
	for i, side := range sides {
		for _, p := range side {
			s.ask(p, outlooks[i], deadline+slack)
		}
	}
	s.startLoad(pods)
	s.awaitAnswers(time.Now(), someAnswers)

	cut := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) { o.Begin(cut, other, cluster.Unsure, cluster.MayMiss) })
	c.cutDC(t, "eu-west")
	after := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) { o.Begin(after, other, cluster.Absent, cluster.MustMiss) })
	moved.Leaving()
	moves.Close()
	moved.Left()
	s.resident(pods[2], "moves") // to the other side, which cannot know that the first connection has ended
	s.resident(pods[3], "new")
	for i, side := range sides {
		for _, other := range sides[1-i] {
			s.awaitLeaves(side, cut, alone(other))
		}
	}
	s.askers[0].Aside(func() { expectMissing(t, pods[0], sides[1]) })
	<-time.After(time.Until(cut.Add(partition)))
	s.awaitAnswers(cut.Add(partition), 2)

	healed := time.Now()
	each(func(o *cluster.Outlook, other cluster.Pod) {
		o.End(healed, other, cluster.Absent, cluster.MustMiss)
		o.End(healed.Add(healsAfter), other, cluster.Unsure, cluster.MayMiss)
	})
	for i, o := range outlooks {
		for _, p := range sides[i] { // until it has compared its book with those that it hears again
			o.Begin(healed, p.Pod, cluster.MayNameNone)
			o.End(healed.Add(healsAfter), p.Pod, cluster.MayNameNone)
		}
	}
	c.mendDC(t, "eu-west")
	s.awaitAnswers(healed.Add(healsAfter), someAnswers)
	s.stopLoading()
	s.stopAsking("parted", cut)
	everybody = append(everybody, "new")
	slices.Sort(everybody)
	s.awaitViews(pods, everybody)
	for i, side := range sides {
		for _, p := range side {
			for _, other := range sides[1-i] {
				s.expectEvents(p, cut, grace, alone(other), 1, 1)
			}
			for _, near := range side {
				s.expectEvents(p, cut, grace, alone(near), 0, 0)
			}
		}
	}
}

// expectMissing checks a pod's answers, beyond the counts, while pods of another data center are
// missing.
func expectMissing(t *testing.T, p *pod, missing deployment) {
	t.Helper()
	names := make([]string, len(missing))
	for i, other := range missing {
		names[i] = other.String()
	}
	list := strings.Join(names, ", ")
	tests := []struct {
		endpoint, body string
		status         int
		missing        string
	}{
		{"allusers", `{"requireComplete":true}`, http.StatusServiceUnavailable, list},
		{"users", `{"scope":"all","channel":"room","requireComplete":true}`, http.StatusServiceUnavailable, list},
		{"users", `{"scope":"all","channel":"room"}`, http.StatusOK, list},
		{"users", `{"scope":"dc","channel":"room","requireComplete":true}`, http.StatusOK, ""},
		{"users", `{"channel":"room","requireComplete":true}`, http.StatusOK, ""},
	}
	for _, tt := range tests {
		a := p.site.Request(t, http.MethodPost, "/message/"+tt.endpoint, tt.body, "X-Api-Key", apiKey)
		if a.Status != tt.status || a.Header.Get("Rollcall-Missing") != tt.missing ||
			a.Header.Get("Rollcall-Complete") != strconv.FormatBool(tt.missing == "") {
			t.Errorf("%s %s of %s: status %d, headers %v", tt.endpoint, tt.body, p.Pod, a.Status, a.Header)
		}
		if tt.status != http.StatusOK && (a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, `"code":"incomplete"`)) {
			t.Errorf("%s %s of %s: Retry-After %q, %s", tt.endpoint, tt.body, p.Pod, a.Header.Get("Retry-After"), a.Body)
		}
	}
}
