package membership

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Pods tell each other whom they hear and whom they miss. Each heartbeat has two sums. While the
// sums of a pod differ from those of this one, this one requests the lists, rarely if it has the list of
// just these sums. So two pods that do not hear each other are named by both, if a third one
// hears them, and no pod takes one for crashed that another still hears.
const (
	// disagreeFor is how long the sums of a pod differ before its lists are requested. Most
	// differences are news that has not arrived everywhere.
	disagreeFor = 2 * time.Second
	// listEvery is the minimum time between two requests for the lists of a pod, answerListEvery that
	// between two answers to one.
	listEvery       = time.Second
	answerListEvery = 200 * time.Millisecond
	// relistEvery is the time between two requests for the same lists: what follows from them can be
	// lost on its way to the other pod.
	relistEvery = 5 * time.Second
	// confirmEvery is the time between requests to a pod that has not confirmed yet that it hears
	// this one.
	confirmEvery = 300 * time.Millisecond
)

// view is what a pod has said about the runs that it hears and misses.
type view struct {
	heard, missed uint64    // sums of its last heartbeat
	differs       time.Time // time since which its sums differ from those of this pod; zero if they do not
	requested     time.Time // time of the last request for its lists
	answered      time.Time // time at which it was last sent those of this pod
	confirmed     bool      // its list has this run, and no run that this pod does not know
	listed        bool      // it has sent a list, with what its last run heard
	hearing       time.Time // time at which it last said that it hears this pod, or at which it was admitted

	list                  []uint64 // runs that it hears, sorted; nil before the first list
	listHeard, listMissed uint64   // sums of its last heartbeat at the time of the list
}

// hears reports whether the run is on the list.
func (v *view) hears(id uint64) bool {
	_, found := slices.BinarySearch(v.list, id)
	return found
}

// hasList reports whether the list is that of the last heartbeat.
func (v *view) hasList() bool {
	return v.list != nil && v.listHeard == v.heard && v.listMissed == v.missed
}

// noteRuns records that the heard or the missed runs have changed.
func (m *Members) noteRuns() {
	m.sumsKnown = false
	m.saveSoon.Wake()
}

// sums returns the sums of the runs that this pod hears and misses. They are known unless Members.mu is
// held for a change.
func (m *Members) sums() (heard, missed uint64) {
	if m.sumsKnown {
		return m.heardSum, m.missedSum
	}
	m.heardSum, m.missedSum = m.selfID, 0
	for _, pod := range m.pods {
		if !pod.suspect {
			m.heardSum += pod.id
		}
	}
	for _, l := range m.lost {
		m.missedSum += l.id
	}
	m.sumsKnown = true
	return m.heardSum, m.missedSum
}

// heardByAnother reports whether a pod that this one hears has heard the run lately, and whether all
// of these have said so or not.
func (m *Members) heardByAnother(id uint64) (heard, known bool) {
	own, _ := m.sums()
	known = true
	for _, pod := range m.pods {
		switch {
		case pod.suspect:
		case !pod.view.listed:
			known = false
		case pod.view.heard == own:
		case pod.view.hasList():
			if pod.view.hears(id) {
				return true, true
			}
		default:
			known = false
		}
	}
	return false, known
}

// missedByAnother reports whether a pod that this one hears misses any run.
func (m *Members) missedByAnother() bool {
	for _, pod := range m.pods {
		if pod.view.missed != 0 {
			return true
		}
	}
	return false
}

// hearsThis reports whether a pod has said lately that it hears this one.
func (m *Members) hearsThis(v *view) bool {
	own, _ := m.sums()
	return v.heard == own || v.hasList() && v.hears(m.selfID)
}

// compareView records the sums in a heartbeat.
func (m *Members) compareView(pod *member, hb *message.Heartbeat, now time.Time) {
	v := &pod.view
	v.heard, v.missed = hb.Heard, hb.Missed
	heard, missed := m.sums()
	switch {
	case v.heard == heard && v.missed == missed:
		v.differs = time.Time{}
	case v.differs.IsZero():
		v.differs = now
	}
}

// requestLists requests the lists that are due, and returns when to look again; zero if not by
// itself. joining is set until this pod has joined.
func (m *Members) requestLists(now time.Time, joining bool) (next time.Time) {
	heard, missed := m.sums()
	for p, pod := range m.pods {
		v := &pod.view
		due := v.requested.Add(listEvery)
		switch {
		case joining && !v.confirmed:
			due = v.requested.Add(confirmEvery)
		case pod.suspect:
			continue
		case m.lookUrgently && !v.listed:
			due = v.requested.Add(confirmEvery)
		case v.heard == heard && v.missed == missed:
			continue
		case v.hasList():
			due = v.requested.Add(relistEvery)
		case m.lookUrgently, joining:
		default:
			if v.differs.IsZero() {
				v.differs = now
			}
			if patient := v.differs.Add(disagreeFor); patient.After(due) {
				due = patient
			}
		}
		if now.Before(due) {
			next = work.Earliest(next, due)
			continue
		}
		v.requested = now
		m.afterChange(func() { m.link.Send(m.link.Inbox(p), &message.RunsWanted{}) })
		next = work.Earliest(next, now.Add(confirmEvery))
	}
	return next
}

// answerRuns answers a request with the lists of this pod, or with descriptions.
func (m *Members) answerRuns(to link.Peer, wanted *message.RunsWanted, now time.Time) {
	pod := m.pods[to]
	if pod == nil || now.Sub(pod.view.answered) < answerListEvery && len(wanted.IDs) == 0 {
		return
	}
	list := &message.Runs{}
	if len(wanted.IDs) == 0 {
		pod.view.answered = now
		list.List, list.IDs = true, []uint64{m.selfID}
		list.Heard, list.Missed = m.sums()
		for _, other := range m.pods {
			if other.suspect { // a pod that has just begun to hear this one must know of it
				list.Runs = append(list.Runs, other.describe(now))
				continue
			}
			list.IDs = append(list.IDs, other.id)
		}
		for _, l := range m.lost {
			list.Runs = append(list.Runs, l.describe(now))
		}
		for p, t := range m.crashed() { // a pod that came later does not know that they count
			end := m.ended[p]
			r := describe(p, end.seq, end.sum(), now.Sub(end.at), message.Ended)
			r.Tenure = t.saved(now)
			list.Runs = append(list.Runs, r)
		}
		if m.fresh {
			list.Runs = append(list.Runs, m.describeSelf(now))
		}
	} else {
		ids := make(map[uint64]bool, len(wanted.IDs))
		for _, id := range wanted.IDs {
			ids[id] = true
		}
		for _, other := range m.pods {
			if ids[other.id] {
				list.Runs = append(list.Runs, other.describe(now))
			}
		}
	}
	m.sendRuns(m.link.Inbox(to), list)
}

// sendRuns sends runs, in several messages if there are many.
func (m *Members) sendRuns(subject string, list *message.Runs) {
	all := list.Runs
	list.Runs = all[:min(len(all), message.MaxRuns)]
	parts := []*message.Runs{list}
	for part := range slices.Chunk(all[len(list.Runs):], message.MaxRuns) {
		parts = append(parts, &message.Runs{Runs: part})
	}
	m.afterChange(func() {
		for _, part := range parts {
			m.link.Send(subject, part)
		}
	})
}

// addRuns handles what a pod says about runs.
func (m *Members) addRuns(from link.Peer, runs *message.Runs, now time.Time) {
	pod := m.pods[from]
	if pod == nil {
		return
	}
	if runs.List {
		m.addList(pod, runs)
	}
	reply := &message.Runs{}
	for i := range runs.Runs {
		r := &runs.Runs[i]
		if peerOf(r) == from {
			pod.tenure.begin(r.Tenure, now)
			continue
		}
		m.addRun(r, reply, now)
	}
	if len(reply.Runs) > 0 {
		m.sendRuns(m.link.Inbox(from), reply)
	}
}

// addList records the list of a pod, and requests descriptions of the runs that this pod does not
// hear. Of those that it misses, the hosts can have changed.
func (m *Members) addList(pod *member, runs *message.Runs) {
	if len(runs.IDs) > maxPods+1 { // no pod hears more, itself included
		m.link.Counts.Oversized.Add(1)
		return
	}
	v := &pod.view
	v.listed = true
	v.list = append(make([]uint64, 0, len(runs.IDs)), runs.IDs...)
	slices.Sort(v.list)
	v.listHeard, v.listMissed = runs.Heard, runs.Missed
	v.heard, v.missed = runs.Heard, runs.Missed // newer than those of the last heartbeat
	heard, missed := map[uint64]bool{m.selfID: true}, make(map[uint64]bool, len(m.lost))
	for _, other := range m.pods {
		heard[other.id] = true
	}
	for _, l := range m.lost {
		missed[l.id] = true
	}
	wanted, unknown := &message.RunsWanted{}, false
	for _, id := range v.list {
		if !heard[id] {
			wanted.IDs = append(wanted.IDs, id)
			unknown = unknown || !missed[id]
		}
	}
	if len(wanted.IDs) > 0 {
		p := pod.Peer
		m.afterChange(func() { m.link.Send(m.link.Inbox(p), wanted) })
	}
	if !unknown && v.hears(m.selfID) && !v.confirmed {
		v.confirmed = true
		m.pulse.wake.Wake()
	}
}
