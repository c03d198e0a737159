package cluster

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Outlook is the state of each pod, as seen by the pods that answer. It is safe for concurrent use.
type Outlook struct {
	pods []Pod

	mu     sync.Mutex
	spells []spell
}

// Rule is what a state means for answers.
type Rule uint8

// Rules. Without any, the pod's connections are in each answer, and it is not missing.
const (
	Unsure      Rule = iota // its connections may or may not be in an answer, even in a complete one
	Absent                  // its connections are in no answer
	MayMiss                 // it may be named as missing
	MustMiss                // it must be named as missing
	MayBeBlind              // it may receive nothing: its own answers may be incomplete and name no pod
	Silent                  // it may give no answer itself
	MayMissPart             // it may be named as missing although some of its connections are in the answer
	MayNameNone             // its own incomplete answers may name no pod, and then lack nothing
	Blind                   // it receives nothing: its own answers are incomplete, and may name pods
)

// spell is a period with a rule in force. A zero end is in the future.
type spell struct {
	rule     Rule
	pod      Pod
	from, to time.Time
}

// NewOutlook returns the outlook of a deployment without problems.
func NewOutlook(pods []Pod) *Outlook { return &Outlook{pods: pods} }

// Begin puts rules in force for a pod.
func (o *Outlook) Begin(at time.Time, pod Pod, rules ...Rule) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range rules {
		o.spells = append(o.spells, spell{rule: r, pod: pod, from: at})
	}
}

// End removes rules that are in force for a pod.
func (o *Outlook) End(at time.Time, pod Pod, rules ...Rule) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.spells {
		s := &o.spells[i]
		if s.pod == pod && slices.Contains(rules, s.rule) && s.to.IsZero() {
			s.to = at
		}
	}
}

// overlaps reports whether a rule is in force at some moment of a period.
func (o *Outlook) overlaps(r Rule, pod Pod, from, to time.Time) bool {
	return o.any(r, pod, func(s spell) bool { return !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from)) })
}

// covers reports whether a rule is in force for a whole period.
func (o *Outlook) covers(r Rule, pod Pod, from, to time.Time) bool {
	return o.any(r, pod, func(s spell) bool { return !s.from.After(from) && (s.to.IsZero() || !s.to.Before(to)) })
}

func (o *Outlook) any(r Rule, pod Pod, is func(spell) bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.spells, func(s spell) bool { return s.rule == r && s.pod == pod && is(s) })
}

// Down reports whether the pod may fail to answer at a time, because it is stopping or starting.
func (o *Outlook) Down(pod Pod, from, to time.Time) bool {
	return o.overlaps(Unsure, pod, from, to) || o.overlaps(Absent, pod, from, to)
}

// silent reports whether the pod may fail to answer at a time, because of any rule.
func (o *Outlook) silent(pod Pod, from, to time.Time) bool {
	return o.Down(pod, from, to) || o.overlaps(Silent, pod, from, to)
}

// joining reports whether the answer may lack more than the pods that it names: the pod has just
// started and does not know all others, or receives nothing.
func (o *Outlook) joining(asked Pod, a Answer) bool {
	return !a.Complete &&
		(o.Down(asked, a.Asked, a.Answered) || o.overlaps(Blind, asked, a.Asked, a.Answered) ||
			o.overlaps(MayBeBlind, asked, a.Asked, a.Answered))
}

// steady reports whether the data center had a pod without problems that answered.
func (o *Outlook) steady(dc string, a Answer) bool {
	return slices.ContainsFunc(o.pods, func(p Pod) bool {
		return p.DC == dc && !o.Down(p, a.Asked, a.Answered) && !slices.Contains(a.Missing, p.String())
	})
}

// checkMissing checks what the answer says about its completeness.
func (o *Outlook) checkMissing(asked Pod, a Answer) error {
	if !a.Complete && len(a.Missing) == 0 && !o.joining(asked, a) && !o.overlaps(MayNameNone, asked, a.Asked, a.Answered) {
		return fmt.Errorf("the answer of %s at %s is incomplete and names no pod", asked, a.Asked.Format(clock))
	}
	if a.Complete && o.covers(Blind, asked, a.Asked, a.Answered) {
		return fmt.Errorf("the answer of %s at %s is complete, but the pod receives nothing", asked, a.Asked.Format(clock))
	}
	known := 0
	for _, p := range o.pods {
		named := slices.Contains(a.Missing, p.String())
		if named {
			known++
		}
		may := o.overlaps(MayMiss, p, a.Asked, a.Answered) || o.overlaps(MustMiss, p, a.Asked, a.Answered)
		switch {
		case named && !may:
			return fmt.Errorf("the answer of %s at %s says that %s is missing", asked, a.Asked.Format(clock), p)
		case !named && o.covers(MustMiss, p, a.Asked, a.Answered):
			return fmt.Errorf("the answer of %s at %s does not say that %s is missing, only %q",
				asked, a.Asked.Format(clock), p, a.Missing)
		}
	}
	if known != len(a.Missing) {
		return fmt.Errorf("the answer of %s says that %q are missing, which are not all pods of the deployment", asked, a.Missing)
	}
	return nil
}
