package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// Bounds of what a pod may take to know again what it should.
const (
	// joins is how long a pod may take to join after its start, a pause or a reconnect.
	joins = 5*time.Second + slack
	// crashes is how long a crash may make answers incomplete.
	crashes = 7 * time.Second
)

// simAnswer is an answer to a query.
type simAnswer struct {
	run   *simRun
	host  presence.HostName
	kind  int
	began time.Time
	end   time.Time
	truth Truth
	dcs   []DataCenter // for kinds up to 3
	list  []presence.Listing
}

func (a *simAnswer) String() string {
	return fmt.Sprintf("%v asked %d about %v at %s: %s, %+v", a.run, a.kind, a.host, a.began.Format("05.000000"), a.text(), a.truth)
}

func (a *simAnswer) text() string {
	text := ""
	for i := range a.dcs {
		dc := &a.dcs[i]
		text += fmt.Sprintf("%s %d %d %s ", dc.Name, dc.Authenticated, dc.Anonymous, idsOf(dc.Users))
	}
	for i := range a.list {
		text += fmt.Sprintf("%s %d %s ", a.list[i].Channel, a.list[i].Count, idsOf(a.list[i].Users))
	}
	return text
}

func idsOf(users []presence.User) []string {
	ids := make([]string, len(users))
	for i := range users {
		ids[i] = users[i].ID
	}
	slices.Sort(ids)
	return ids
}

// ask sends a query to a pod, and judges the answer.
func (s *sim) ask(r *simRun, host presence.HostName, kind int) {
	s.asking.Go(func() { s.judge(s.query(r, host, kind)) })
}

// query sends a query to a pod, and waits for the answer.
func (s *sim) query(r *simRun, host presence.HostName, kind int) *simAnswer {
	a := &simAnswer{run: r, host: host, kind: kind, began: time.Now()}
	if kind < 4 {
		a.dcs, a.truth = r.cluster.AllUsers(context.Background(), host, a.members(), a.per())
	} else {
		a.list, _, a.truth = r.cluster.Users(context.Background(), host, ScopeAll, a.per(), presence.Page{})
	}
	r.port.running() // a process that is stopped gives no answer
	a.end = time.Now()
	return a
}

func (a *simAnswer) members() bool { return a.kind&1 != 0 }
func (a *simAnswer) raw() bool     { return a.kind&2 != 0 || a.kind == 5 }

func (a *simAnswer) per() presence.Per {
	if a.raw() {
		return presence.PerConnection
	}
	return presence.PerUser
}

// judge checks an answer: it has everything that was there throughout on pods that are not named as
// missing, nothing that was never there, and if it is complete, no pod is absent without a reason.
func (s *sim) judge(a *simAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace("%v", a)
	if a.run.end() {
		return // nobody receives the answer
	}
	if took := a.end.Sub(a.began); took > timing.Default().Remote+slack && !a.run.resumed.After(a.began) {
		s.fail("%v: an answer took %v", a.run, took)
	}
	s.ears.Lock()
	defer s.ears.Unlock()
	s.weigh(a.end)
	absent := make(map[*simRun]string)
	for _, r := range s.runs {
		if r != a.run && !r.end() {
			if why := s.absent(a.run, r, a.host, a.began, a.truth.Complete); why != "" {
				absent[r] = why
			}
		}
	}
	sure := func(r *simRun) bool {
		return absent[r] == "" && !slices.Contains(a.truth.Missing, r.String())
	}
	s.asked++
	b := s.facts.bounds(a.host, a.began, a.end, sure)
	err := b.checkUsers(a.dcs, a.members(), a.raw())
	if a.kind > 3 {
		err = b.checkListings(a.list, a.raw())
	}
	if err != nil {
		s.fail("%v\n  %v\n  absent may be %v", a, err, absent)
	}
	if !a.truth.Complete {
		s.judgeIncomplete(a)
		return
	}
	s.completed++
	a.run.completed[s.indexOf(a.host)] = a
	s.judgeComplete(a, absent)
}

// judgeComplete checks that a complete answer has replies of all pods that must be in it. s.ears is
// held.
func (s *sim) judgeComplete(a *simAnswer, absent map[*simRun]string) {
	if len(a.truth.Missing) > 0 {
		s.fail("%v\n  is complete, and %v are missing", a, a.truth.Missing)
	}
	if a.run.offline && a.run.lost.Before(a.began.Add(-slack-jitter)) {
		s.fail("%v\n  is complete without the bus", a)
	}
	h, since := s.indexOf(a.host), a.began.Add(-slack-jitter)
	for _, r := range s.runs {
		p := s.pair(a.run, r)
		stopped := r.paused && r.stopped.Before(since)
		if r == a.run || r.end() || r.serving[h].IsZero() || !stopped && (p.cut.IsZero() || p.cut.After(since)) {
			continue // it has ended, or it could answer
		}
		other := r.completed[h]
		switch {
		case absent[r] == "" && s.plan.replay == 0: // otherwise an outsider may have repeated its reply
			s.fail("%v\n  is complete, and %v cannot have answered", a, r)
		case s.reaches(a.run, r) || other == nil || !other.end.After(a.began.Add(-time.Second)) || p.cut.IsZero() || !other.end.After(p.cut):
		case s.absent(r, a.run, a.host, other.began, true) == "it counts as crashed" && absent[r] == "it counts as crashed":
			s.fail("%v\n  is complete, and so was the answer of a pod on the other side of a cut:\n%v", a, other)
		}
	}
}

// reaches reports whether two pods can reach each other, over any others.
func (s *sim) reaches(a, b *simRun) bool {
	seen := map[*simRun]bool{a: true}
	for next := []*simRun{a}; len(next) > 0; next = next[1:] {
		for _, r := range s.runs {
			if !seen[r] && !s.pair(next[0], r).open.IsZero() {
				seen[r] = true
				next = append(next, r)
			}
		}
	}
	return seen[b]
}

// judgeIncomplete checks that an incomplete answer has a reason, while the network has no faults.
func (s *sim) judgeIncomplete(a *simAnswer) {
	if s.final {
		for _, name := range a.truth.Missing {
			if !s.mayBeMissed(name) {
				s.fail("%v\n  in the end, %s is missing", a, name)
			}
		}
		if len(a.truth.Missing) == 0 {
			s.fail("%v\n  in the end, it is not complete, and nothing is missing", a)
		}
		return
	}
	if !s.plan.quietNet() || a.began.Sub(a.run.began) < joins {
		return
	}
	for _, pod := range s.pods {
		r := pod.last
		if r == nil {
			continue
		}
		if r.end() && a.began.Sub(r.ended) < crashes || s.mayBeMissed(r.String()) || a.end.Sub(r.began) < joins || a.end.Sub(r.moved) < found {
			return
		}
	}
	s.fail("%v\n  is not complete without a reason", a)
}

// mayBeMissed reports whether a pod may be named as missing until it is back: it has ended without
// a goodbye that a running pod has heard, and half of its data center or more have. A pod that came
// after the loss need not count. s.ears is held.
func (s *sim) mayBeMissed(name string) bool {
	lost, there := 0, 0
	var missed *simRun
	for _, p := range s.pods {
		if r := p.last; r != nil && r.String() == name && s.silent(r) {
			missed = r
		}
	}
	if missed == nil {
		return false
	}
	since := time.Now() // time of the loss, for the pod that lost it first; zero if one has never heard it
	for _, p := range s.pods {
		if p.run == nil {
			continue
		}
		if last := s.pair(p.run, missed).last; last.Before(since) {
			since = last
		}
	}
	for _, p := range s.pods {
		switch r := p.last; {
		case r == nil || p.dc != missed.dc:
		case s.silent(r):
			lost++
		case !r.end() && s.knownSince(r, since):
			there++
		}
	}
	return there <= lost
}

// knownSince reports whether all running pods must know a run since then.
func (s *sim) knownSince(r *simRun, since time.Time) bool {
	for _, p := range s.pods {
		if p.run != nil && p.run != r {
			if at := s.pair(p.run, r).known[0]; at.IsZero() || at.After(since) {
				return false
			}
		}
	}
	return r.began.Before(since)
}

// silent reports whether a run has ended, and no running pod has heard its goodbye.
func (s *sim) silent(r *simRun) bool {
	for _, p := range s.pods {
		if p.run != nil && s.pair(p.run, r).bye {
			return false
		}
	}
	return r.end()
}
