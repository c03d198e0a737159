package membership

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// newsDelay is the time for which news is collected before it is sent.
const newsDelay = 100 * time.Millisecond

// addRun handles what another pod says about one run. If this pod knows that the run has ended,
// it adds that to the reply.
func (m *Members) addRun(r *message.Run, reply *message.Runs, now time.Time) {
	p := peerOf(r)
	name := nameOf(p)
	if m.pods[p] != nil || name == nameOf(m.self) {
		return
	}
	if r.Standing == message.Ended || r.Standing == message.Forgotten {
		l := m.lost[name]
		if l != nil && (later(p, l.Peer) || p == l.Peer && (r.Seq >= l.seq || r.Standing == message.Forgotten)) {
			if p == l.Peer {
				l.seq = max(l.seq, r.Seq)
			}
			m.dropLost(l, now, "ended, as another pod says")
			if p != l.Peer { // a later run has the name
				m.recordEnd(l.Peer, ^uint64(0), l.tenure, now)
				m.recordEnd(p, r.Seq, l.tenure, now)
				m.markDead(p)
			}
		}
		_, known := m.ended[p]
		switch {
		case r.Standing == message.Forgotten:
			m.markForgotten(p)
		case l == nil && !known && r.Seq != ^uint64(0) && m.unknown(p) && len(m.ended) < maxPods: // it crashed before this pod came
			m.recordEnd(p, r.Seq, tenureIn(r.Tenure, now), timeOf(r, now))
			m.recordServed(p, m.servedBySum(r.Sites))
			m.markDead(p)
		}
		return
	}
	if end, ok := m.endOf(p); ok {
		if end.Seq >= r.Seq {
			if r.Standing == message.Missed {
				// The receiver may not hear the later run either, and then misses that one.
				reply.Runs = append(m.appendLater(reply.Runs, p, now), end)
			}
			return
		}
	}
	heard := timeOf(r, now)
	if m.addLost(&lostPod{Peer: p, seq: r.Seq, tenure: m.tenureOf(p, m.namesakes(p), heard), heard: heard, since: now, sum: r.Sites}) {
		m.log(m.logger.Info, "pod is missing", p, "another pod says so")
	}
}

func peerOf(r *message.Run) link.Peer {
	return link.Peer{DC: r.DataCenter, Pod: r.Pod, Incarnation: r.Incarnation}
}

// describeSelf returns the description of this pod, with since when it counts.
func (m *Members) describeSelf(now time.Time) message.Run {
	r := describe(m.self, 0, 0, now.Sub(m.tenure.since), message.Heard)
	if m.fresh {
		r.Tenure = m.tenure.saved(now)
	}
	return r
}

// timeOf returns the time at which a run was heard or has ended, by its age.
func timeOf(r *message.Run, now time.Time) time.Time { return timeBefore(now, r.Age) }

func timeBefore(now time.Time, age uint64) time.Time {
	return now.Add(-time.Duration(age) * time.Millisecond)
}

// endOf returns the end of a run, if this pod knows that it has ended, by itself or because a later
// run has its name.
func (m *Members) endOf(p link.Peer) (message.Run, bool) {
	run := message.Run{DataCenter: p.DC, Pod: p.Pod, Incarnation: p.Incarnation, Standing: message.Ended, Seq: ^uint64(0)}
	if m.replaced(p) {
		return run, true
	}
	end, ok := m.ended[p]
	if run.Seq = end.seq; end.forgotten {
		run.Standing = message.Forgotten
	}
	return run, ok && end.dead
}

// replaced reports whether this pod knows a later run of the pod, whatever has become of that one.
func (m *Members) replaced(p link.Peer) bool {
	name := nameOf(p)
	if l := m.lost[name]; l != nil && later(l.Peer, p) {
		return true
	}
	return slices.ContainsFunc(m.named[name], func(other link.Peer) bool {
		end := m.ended[other]
		return later(other, p) && (m.pods[other] != nil || end.dead && !end.outlived)
	})
}

// appendLater appends descriptions of the pod's later runs, heard or missing.
func (m *Members) appendLater(list []message.Run, p link.Peer, now time.Time) []message.Run {
	for _, other := range m.namesakes(p) {
		if later(other, p) {
			list = append(list, m.pods[other].describe(now))
		}
	}
	if l := m.lost[nameOf(p)]; l != nil && later(l.Peer, p) {
		list = append(list, l.describe(now))
	}
	return list
}

// describe returns the description of a pod that is heard.
func (pod *member) describe(now time.Time) message.Run {
	return describe(pod.Peer, pod.seq, pod.sum, now.Sub(pod.heard), message.Heard)
}

// describe returns the description of a missing pod.
func (l *lostPod) describe(now time.Time) message.Run {
	return describe(l.Peer, l.seq, l.sum, now.Sub(l.heard), message.Missed)
}

func describe(p link.Peer, seq, sum uint64, age time.Duration, s message.Standing) message.Run {
	return message.Run{
		DataCenter: p.DC, Pod: p.Pod, Incarnation: p.Incarnation,
		Seq: seq, Sites: sum, Age: ageOf(age), Standing: s,
	}
}

// ageOf returns the age of a run for a message.
func ageOf(d time.Duration) uint64 { return uint64(min(max(0, d.Milliseconds()), message.MaxAge)) }

// noteNews records that this pod has begun to hear another one, or that it serves other hosts, for
// sendNews. It records nothing while this pod joins, because every pod is new to it.
func (m *Members) noteNews(p link.Peer, now time.Time) {
	if !m.pulse.settledNow() {
		return
	}
	if len(m.news) == 0 {
		m.newsSince = now
	}
	m.news = append(m.news, p)
}

// sendNews tells all pods, after newsDelay, what noteNews has recorded. A pod that does not hear one
// of these pods names it as missing.
func (m *Members) sendNews(now time.Time) (next time.Time) {
	if len(m.news) == 0 {
		return time.Time{}
	}
	if due := m.newsSince.Add(newsDelay); now.Before(due) {
		return due
	}
	list := &message.Runs{}
	for _, p := range m.news {
		if pod := m.pods[p]; pod != nil {
			list.Runs = append(list.Runs, pod.describe(now))
		}
	}
	m.news = nil
	if len(list.Runs) > 0 {
		m.sendRuns(m.link.All(), list)
	}
	return time.Time{}
}
