package membership

import (
	"slices"
	"sort"
	"time"
)

// census counts the pods of one data center that were heard or missing at a time: all of them, and
// those that this pod hears now.
type census struct{ steps []censusStep }

// censusStep changes the numbers from a time on. After settle, it has the numbers.
type censusStep struct {
	at           time.Time
	total, heard int
}

// add adds a pod. At a loss within margin before it was away, it may have been away: the next
// heartbeat was the first that was lost.
func (c *census) add(t tenure, hears bool, margin time.Duration) {
	heard := 0
	if hears {
		heard = 1
	}
	c.steps = append(c.steps, censusStep{t.since, 1, heard})
	if t.left.IsZero() {
		return
	}
	left := t.left.Add(-margin)
	if left.Before(t.since) {
		left = t.since
	}
	c.steps = append(c.steps, censusStep{left, -1, -heard}, censusStep{t.back, 1, heard})
}

// settle must be called after the last pod is added.
func (c *census) settle() {
	slices.SortFunc(c.steps, func(a, b censusStep) int { return a.at.Compare(b.at) })
	for i := 1; i < len(c.steps); i++ {
		c.steps[i].total += c.steps[i-1].total
		c.steps[i].heard += c.steps[i-1].heard
	}
}

// majority reports whether this pod hears more than half of the pods that were there at a time.
func (c *census) majority(at time.Time) bool {
	next := sort.Search(len(c.steps), func(i int) bool { return c.steps[i].at.After(at) })
	return next > 0 && 2*c.steps[next-1].heard > c.steps[next-1].total
}

// censuses returns the censuses of the data centers with missing pods. This pod counts. A suspect
// counts as one that is not heard, and so does a pod that does not hear this one: it could make a
// majority on both sides of one-way cuts.
//
// A pod that counts as crashed still counts as one that is not heard: it may be alive, and a pod
// that was in the majority for that verdict may hear it when the next one is lost. Otherwise, what
// is left of that majority could take for crashed those that are a majority of all.
//
// Each loss has a majority of its own. A pod whose name was neither heard nor missing at the loss
// does not count: pods that start on both sides of a partition would make a majority on each. A pod
// that came before it counts, even if another pod has been missing for longer. A pod that is not
// heard counts at every loss: this pod may not know since when it was there.
func (m *Members) censuses() map[string]*census {
	all := make(map[string]*census)
	for _, l := range m.lost {
		if all[l.DC] == nil {
			all[l.DC] = new(census)
		}
	}
	add := func(dc string, t tenure, hears bool) {
		if c := all[dc]; c != nil {
			c.add(t, hears, 2*m.timing.Heartbeat)
		}
	}
	if len(all) == 0 {
		return all
	}
	for _, l := range m.lost {
		add(l.DC, tenure{}, false)
	}
	for p := range m.crashed() {
		add(p.DC, tenure{}, false)
	}
	add(m.self.DC, m.tenure, true)
	for p, pod := range m.pods {
		add(p.DC, pod.tenure, !pod.suspect && m.hearsThis(&pod.view))
	}
	for _, c := range all {
		c.settle()
	}
	return all
}

// noteHearing records which pods hear this one, as far as they have said. If one did not for a
// while, a one-way cut has ended. It counts in majorities again, and may have counted on the other
// side until now, so the silence of missing pods counts anew, as if the pod had been silent.
func (m *Members) noteHearing(now time.Time) {
	for _, pod := range m.pods {
		if !m.hearsThis(&pod.view) {
			continue
		}
		if now.Sub(pod.view.hearing) >= m.timing.Gone {
			m.restartSilence(pod.DC, now)
		}
		pod.view.hearing = now
	}
}
