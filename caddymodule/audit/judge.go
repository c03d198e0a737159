package audit

import (
	"fmt"
	"slices"
	"time"
)

// shared is how long equal requests may share an answer: by so much an answer can be older than its
// request.
const shared = 100 * time.Millisecond

// place is a user in a data center. In an answer about a channel the data center is "".
type place struct{ dc, user string }

// answer is what a pod has said.
type answer struct {
	pod             int    // index of the pod that was asked
	channel         string // "" for all users
	asked, answered time.Time
	isComplete      bool
	listed          map[place]int
}

// verdict is what is wrong with an answer.
type verdict struct {
	wrong []string // differences that the promise of completeness does not allow
	// ghosts is the number of connections listed that had ended, and absent that of open ones that
	// are not listed. Both include what an incomplete answer may say.
	ghosts, absent int
}

// holder is what the stays of one user say about an answer.
type holder struct {
	least, most int
	sure        []int // pods of connections that were open all the time
	possible    []int // pods of connections that may have been open
}

// judge compares an answer with the stays. cutOff reports whether a pod may be dead to the others
// at the time, although it runs: its own answers then say that they are incomplete, or do not come.
func (l *stays) judge(pods []Pod, a *answer, cutOff func(pod int) bool) verdict {
	var v verdict
	holders := l.holders(pods, a)
	alone := make(map[int]bool) // pods with a user on no other pod who is listed
	for where, h := range holders {
		if a.listed[where] > 0 && len(h.possible) > 0 && !slices.ContainsFunc(h.possible, func(p int) bool { return p != h.possible[0] }) {
			alone[h.possible[0]] = true
		}
	}
	for where, h := range holders {
		n := a.listed[where]
		switch {
		case n < h.least:
			v.absent += h.least - n
			excused := 0
			for _, p := range h.sure {
				if p != a.pod && !alone[p] && cutOff(p) {
					excused++
				}
			}
			if a.isComplete && n < h.least-excused {
				v.wrong = append(v.wrong, fmt.Sprintf("%s lacks %s on %s", what(a), where.user, pods[h.sure[0]].Name))
			}
		case n > h.most:
			v.ghosts += n - h.most
			if a.isComplete {
				v.wrong = append(v.wrong, fmt.Sprintf("%s lists %s %d times, at most %d are connected", what(a), where.user, n, h.most))
			}
		}
	}
	slices.Sort(v.wrong)
	return v
}

// what names the answer in a finding.
func what(a *answer) string {
	if a.channel == "" {
		return "the list of all users"
	}
	return "the channel " + a.channel
}

// holders returns what the stays say about each user that was there lately, or is listed.
func (l *stays) holders(pods []Pod, a *answer) map[place]*holder {
	from := a.asked.Add(-shared)
	all := make(map[place]*holder)
	get := func(where place) *holder {
		if all[where] == nil {
			all[where] = new(holder)
		}
		return all[where]
	}
	for where := range a.listed {
		get(where)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.by[a.channel] {
		where := place{dc: pods[s.pod].dataCenter(), user: s.user}
		if a.channel != "" {
			where.dc = ""
		}
		if s.isSure(from, a.answered) {
			h := get(where)
			h.least++
			h.sure = append(h.sure, s.pod)
		}
		if s.isPossible(from, a.answered) {
			h := get(where)
			h.most++
			h.possible = append(h.possible, s.pod)
		}
	}
	return all
}

// soundness records when a pod did not answer completely. The mutex of the audit guards it.
type soundness struct {
	spans   []span
	pending time.Time // when the question was asked that is not answered yet; zero for none
}

type span struct{ from, to time.Time }

// isDoubtful reports whether the pod's own answers were incomplete, or did not come, at some moment
// of a period or shortly before. A question that still waits counts from when it was asked.
func (s *soundness) isDoubtful(from, to time.Time) bool {
	// A pod is dead to the others until a second after they hear it again.
	const after = 2 * time.Second
	from = from.Add(-after)
	return (!s.pending.IsZero() && !s.pending.After(to)) ||
		slices.ContainsFunc(s.spans, func(p span) bool { return !p.from.After(to) && !p.to.Before(from) })
}

func (s *soundness) add(from, to time.Time) {
	old := to.Add(-remembered)
	s.spans = slices.DeleteFunc(s.spans, func(p span) bool { return p.to.Before(old) })
	s.spans = append(s.spans, span{from, to})
}
