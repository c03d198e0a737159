package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// simSight is what one pod can know of another at best.
type simSight struct {
	cut  time.Time // start of the cut between them, in either direction; zero if there is none
	mend time.Time // end of the last cut
	// before is the start of the last cut.
	before time.Time
}

const (
	// unheard is the minimum time of a cut after which a pod counts as lost: its last heartbeat
	// came at most one interval before.
	unheard = 3900 * time.Millisecond
	// found is the maximum time until a pod that joins is known.
	found = 2500 * time.Millisecond
)

// ask sends a query to a pod, and checks the answer if it is complete.
func (s *sim) ask(r *simRun, host presence.HostName, kind int) {
	s.asking.Go(func() {
		began := time.Now()
		var (
			got   string
			truth Truth
		)
		switch kind {
		case 0, 1, 2, 3:
			members, per := kind&1 != 0, simPer(kind&2 != 0)
			var list []DataCenter
			list, truth = r.cluster.AllUsers(context.Background(), host, members, per)
			got = answerText(list, members)
		default:
			var list []presence.Listing
			list, truth = r.cluster.Users(context.Background(), host, ScopeAll, simPer(kind == 5))
			got = listingsText(list)
		}
		s.judge(r, host, kind, began, got, truth)
	})
}

func simPer(perConnection bool) presence.Per {
	if perConnection {
		return presence.PerConnection
	}
	return presence.PerUser
}

// judge checks an answer: it must have the parts of all pods that the queried one can know, and
// nothing else.
func (s *sim) judge(r *simRun, host presence.HostName, kind int, began time.Time, got string, truth Truth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.trace("%v asked %d about %v at %v: %s %+v", r, kind, host, began.Format("05.000000"), got, truth)
	if took := now.Sub(began); took > 1600*time.Millisecond && !r.resumed.After(began) {
		s.fail("%v: an answer took %v", r, took)
	}
	if s.truth.lastChange(host).After(began.Add(-2 * slack)) {
		return // the answer can be older or newer
	}
	s.asked++
	if !truth.Complete {
		if s.final && !s.halved() {
			s.fail("%v says in the end that %v are missing", r, truth.Missing)
		}
		return
	}
	s.completed++
	if s.plan.faults.heavy() && !s.healed.IsZero() && now.Sub(s.healed) < s.plan.faults.delay+found {
		return
	}
	if s.plan.faults.heavy() && s.healed.IsZero() {
		return // heartbeats may have been lost, and then a pod counts as lost for a while
	}
	var sure, maybe []*simRun
	for _, p := range s.pods {
		switch {
		case p.run == nil:
		case p.run != r && s.excusable(r, p.run, now):
			maybe = append(maybe, p.run)
		default:
			sure = append(sure, p.run)
		}
	}
	want := ""
	for subset := range 1 << len(maybe) {
		runs := make(map[*simRun]bool)
		for _, run := range sure {
			runs[run] = true
		}
		for i, run := range maybe {
			if subset>>i&1 != 0 {
				runs[run] = true
			}
		}
		want = s.answer(runs, host, kind)
		if want == got {
			return
		}
	}
	s.fail("%v says that it is complete: kind %d of %v\n  got  %s\n  want %s (or without some of %v)", r, kind, host, got, want, maybe)
}

// halved reports whether a data center has lost more pods than it has, and counts as partitioned.
func (s *sim) halved() bool {
	balance := make(map[string]int)
	for _, p := range s.pods {
		switch {
		case p.run != nil:
			balance[p.dc]++
		case p.silent:
			balance[p.dc]--
		}
	}
	for _, n := range balance {
		if n <= 0 {
			return true
		}
	}
	return false
}

// excusable reports whether b may be unknown to a now.
func (s *sim) excusable(a, b *simRun, now time.Time) bool {
	if now.Sub(b.began) < found || now.Sub(a.began) < found || now.Sub(b.moved) < found {
		return true
	}
	sight := s.sights[[2]*simRun{a, b}]
	if sight == nil {
		return false
	}
	if !sight.cut.IsZero() {
		return now.Sub(sight.cut) >= unheard || b.moved.After(sight.cut) ||
			sight.cut.Sub(a.began) < found || sight.cut.Sub(b.began) < found
	}
	return now.Sub(sight.mend) < found
}

// answer returns the expected answer of these runs.
func (s *sim) answer(runs map[*simRun]bool, host presence.HostName, kind int) string {
	if kind > 3 {
		return s.answerListings(runs, host, kind == 5)
	}
	byDC := make(map[string]*DataCenter)
	seen := make(map[string]bool)
	for run := range runs {
		if run.Serves(host) && byDC[run.dc] == nil {
			byDC[run.dc] = &DataCenter{Name: run.dc}
		}
	}
	members, raw := kind&1 != 0, kind&2 != 0
	for _, c := range s.clients {
		if c.run == nil || !runs[c.run] || c.host != host {
			continue
		}
		dc := byDC[c.run.dc]
		switch {
		case dc == nil:
		case c.user == "":
			dc.Anonymous++
		case raw || !seen[dc.Name+" "+c.user]:
			seen[dc.Name+" "+c.user] = true
			dc.Authenticated++
			dc.Users = append(dc.Users, presence.User{ID: c.user})
		}
	}
	var list []DataCenter
	for _, name := range slices.Sorted(maps.Keys(byDC)) {
		list = append(list, *byDC[name])
	}
	return answerText(list, members)
}

func answerText(list []DataCenter, members bool) string {
	var lines []string
	for _, dc := range list {
		line := fmt.Sprintf("%s %d %d", dc.Name, dc.Authenticated, dc.Anonymous)
		if members {
			ids := make([]string, 0, len(dc.Users))
			for _, u := range dc.Users {
				ids = append(ids, u.ID)
			}
			slices.Sort(ids)
			line += fmt.Sprint(" ", ids)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

func (s *sim) answerListings(runs map[*simRun]bool, host presence.HostName, raw bool) string {
	byName := make(map[string]*presence.Listing)
	seen := make(map[string]bool)
	for _, c := range s.clients {
		if c.run == nil || !runs[c.run] || c.host != host {
			continue
		}
		for channel := range c.joins {
			l := byName[channel]
			if l == nil {
				class := simClass(channel)
				l = &presence.Listing{Channel: channel, Kind: class.Kind, CountOnly: class.CountOnly}
				byName[channel] = l
			}
			if l.Kind == presence.Authenticated && !raw {
				if seen[channel+" "+c.user] {
					continue
				}
				seen[channel+" "+c.user] = true
			}
			l.Count++
			l.Users = append(l.Users, presence.User{ID: c.user})
		}
	}
	var list []presence.Listing
	for _, l := range byName {
		list = append(list, *l)
	}
	return listingsText(list)
}

func listingsText(list []presence.Listing) string {
	var lines []string
	for _, l := range list {
		switch {
		case l.Kind == presence.Private:
		case l.Named():
			var ids []string
			for _, u := range l.Users {
				ids = append(ids, u.ID)
			}
			slices.Sort(ids)
			lines = append(lines, fmt.Sprint(l.Channel, " ", ids))
		default:
			lines = append(lines, fmt.Sprint(l.Channel, " ", l.Count))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}
