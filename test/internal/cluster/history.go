package cluster

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Settle is how long a pod may take to notice that a client has closed its connection.
const Settle = time.Second

// History records which users were connected where and when. It is safe for concurrent use.
type History struct {
	mu    sync.Mutex
	stays []*Stay
}

// Stay is one connection, from before its request until the pod must have noticed its end.
type Stay struct {
	history *History
	pod     Pod
	user    string // "" for an anonymous one
	// It started between the first two and ended between the last two. Zero times are in the
	// future.
	came, here, going, gone time.Time
}

// Arriving records that a client is about to connect.
func (h *History) Arriving(pod Pod, user string) *Stay {
	s := &Stay{history: h, pod: pod, user: user, came: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stays = append(h.stays, s)
	return s
}

// Arrived records that the client was welcomed.
func (s *Stay) Arrived() { s.note(&s.here, time.Now()) }

// Leaving records that the client is about to close its connection.
func (s *Stay) Leaving() { s.note(&s.going, time.Now()) }

// Left records that the client has closed its connection, or was closed.
func (s *Stay) Left() {
	now := time.Now()
	s.note(&s.going, now)
	s.note(&s.gone, now.Add(Settle))
}

func (s *Stay) note(to *time.Time, at time.Time) {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	if to.IsZero() {
		*to = at
	}
}

// forget drops stays that no answer can include now.
func (h *History) forget(before time.Time) {
	h.stays = slices.DeleteFunc(h.stays, func(s *Stay) bool { return !s.gone.IsZero() && s.gone.Before(before) })
}

// sure reports whether the connection existed for a whole period.
func (s *Stay) sure(from, to time.Time) bool {
	return !s.here.IsZero() && !s.here.After(from) && (s.going.IsZero() || !s.going.Before(to))
}

// possible reports whether the connection can have existed at some moment of a period.
func (s *Stay) possible(from, to time.Time) bool {
	return !s.came.After(to) && (s.gone.IsZero() || !s.gone.Before(from))
}

// span is the minimum and the maximum number of connections, or users.
type span struct{ least, most int }

func (s *span) add(sure, possible bool) {
	if sure {
		s.least++
	}
	if possible {
		s.most++
	}
}

func (s span) has(n int) bool { return s.least <= n && n <= s.most }

// truth is what an answer may say about one data center.
type truth struct {
	anonymous span
	conns     map[string]*span // by user
}

// Check judges an answer of a pod, made between its request and its arrival. The outlook is the
// state of other pods, as seen by the pod that answered.
func (h *History) Check(asked Pod, a Answer, o *Outlook) error {
	if err := o.checkMissing(asked, a); err != nil {
		return err
	}
	dcs := h.truths(asked, a, o)
	for name, got := range a.DCs {
		want := dcs[name]
		if want == nil {
			return fmt.Errorf("%s is in the answer of %s", name, asked)
		}
		if err := want.check(got, a.Shape); err != nil {
			return fmt.Errorf("%s of the answer of %s (missing %q) at %s: %w", name, asked, a.Missing, a.Asked.Format(clock), err)
		}
	}
	for name := range dcs {
		if _, there := a.DCs[name]; !there && o.steady(name, a) && !o.joining(asked, a) {
			return fmt.Errorf("%s is not in the answer of %s", name, asked)
		}
	}
	return nil
}

// clock is the format of a time of day, to be found in a log.
const clock = "15:04:05.000"

func (h *History) truths(asked Pod, a Answer, o *Outlook) map[string]*truth {
	dcs := make(map[string]*truth)
	for _, p := range o.pods {
		dcs[p.DC] = &truth{conns: make(map[string]*span)}
	}
	type part struct{ sure, possible bool }
	parts := make(map[Pod]part)
	for _, p := range o.pods {
		missing := slices.Contains(a.Missing, p.String())
		parts[p] = part{
			sure: !missing && !o.overlaps(Unsure, p, a.Asked, a.Answered) && !o.overlaps(Absent, p, a.Asked, a.Answered) &&
				!o.joining(asked, a),
			possible: (!missing || o.overlaps(MayMissPart, p, a.Asked, a.Answered)) && !o.covers(Absent, p, a.Asked, a.Answered),
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(a.Asked.Add(-time.Minute))
	for _, s := range h.stays {
		p := parts[s.pod]
		sure := p.sure && s.sure(a.Asked, a.Answered)
		possible := p.possible && s.possible(a.Asked, a.Answered)
		if !possible {
			continue
		}
		dc := dcs[s.pod.DC]
		if s.user == "" {
			dc.anonymous.add(sure, possible)
			continue
		}
		if dc.conns[s.user] == nil {
			dc.conns[s.user] = new(span)
		}
		dc.conns[s.user].add(sure, possible)
	}
	return dcs
}

func (t *truth) check(got DataCenter, s Shape) error {
	if !t.anonymous.has(got.Anonymous) {
		return fmt.Errorf("%d are anonymous, want %d to %d", got.Anonymous, t.anonymous.least, t.anonymous.most)
	}
	var total span
	for _, c := range t.conns {
		if s.Raw {
			total.least += c.least
			total.most += c.most
		} else {
			total.add(c.least > 0, c.most > 0)
		}
	}
	if !total.has(got.Authenticated) {
		return fmt.Errorf("%d are authenticated (%+v), want %d to %d", got.Authenticated, s, total.least, total.most)
	}
	if !s.Include {
		return nil
	}
	entries := make(map[string]int, len(got.Users))
	for _, u := range got.Users {
		entries[u.ID]++
	}
	for id, n := range entries {
		c := t.conns[id]
		switch {
		case c == nil:
			return fmt.Errorf("%s is listed, and not connected", id)
		case !s.Raw && n != 1:
			return fmt.Errorf("%s is listed %d times", id, n)
		case s.Raw && !c.has(n):
			return fmt.Errorf("%s is listed %d times, want %d to %d", id, n, c.least, c.most)
		}
	}
	for id, c := range t.conns {
		if c.least > 0 && entries[id] == 0 {
			return fmt.Errorf("%s is connected, and not listed", id)
		}
	}
	return nil
}
