package cluster

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxPods bounds how many pods are known. Without a secret, anybody on the bus can announce some.
const maxPods = 4096

// member is another pod that is alive, as far as this one knows.
type member struct {
	peer
	heard       time.Time // when its last heartbeat came
	seq         uint64    // of that
	history     history   // begins with the answer to the probe
	askAgain    time.Time // see askAgainAfter; zero: it was
	suspect     bool      // silent for a while
	draining    bool
	conflict    bool // another process has the same name
	connections uint64
	hosts       uint64

	sum    uint64  // of the sites that it serves now, as it says
	served *served // what these are; nil: not known, and then it may serve any host
	parts  siteParts
	asked  time.Time // when it was asked for its sites last
	told   time.Time // when it was told ours last
}

// ending is what is kept of a run of a pod that ended, so that no late or replayed heartbeat brings it back.
type ending struct {
	seq uint64
	at  time.Time
}

// follower is told of changes, one at a time and in their order, with no lock of members held that reading them takes.
type follower interface {
	up(p peer)           // the pod is new or back
	down(p peer)         // the pod is gone
	recheck()            // this pod may have missed anything
	sitesChanged(p peer) // the pod serves other hosts now, or its recent messages may be lost
}

// members knows who is alive. It hears of it in heartbeats and goodbyes (this file), or by their absence (pulse.go).
type members struct {
	link   *link
	self   peer
	timing timing
	probes probes
	logger *zap.Logger
	load   func() (connections, hosts uint64)
	follow follower

	pulse pulse

	// turn is held for a change and for telling of it. It is taken before mu.
	turn sync.Mutex

	// mu guards what is below. Only who holds turn too writes.
	mu    sync.RWMutex
	pods  map[peer]*member
	ended map[peer]ending
	lost  map[podName]*lostPod
	cut   map[string]bool // data centers that are taken for partitioned from this one
	own   announcement    // of the sites that this pod serves

	selfConflict bool
	after        []func()       // what to do about the change when mu is free again
	refused      oftenlog.Limit // of the lines about pods that are one too many
}

// podName is a pod over all its runs.
type podName struct{ dc, pod string }

func newMembers(l *link, t timing, load func() (connections, hosts uint64), follow follower, logger *zap.Logger) *members {
	m := &members{
		link: l, self: l.self, timing: t, logger: logger, load: load, follow: follow,
		pods:  make(map[peer]*member),
		ended: make(map[peer]ending),
		lost:  make(map[podName]*lostPod),
		cut:   make(map[string]bool),
		own:   announce([]message.Site{}),
	}
	m.pulse.init(t.paused)
	return m
}

// alive reports whether the pod is a member. Suspects and those that drain are.
func (m *members) alive(p peer) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pods[p] != nil
}

// standing reports whether the pod is a member, and whether its payload of that number was published before then, or
// more than maxAge ago.
func (m *members) standing(p peer, seq uint64, then time.Time) (alive, old bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	pod := m.pods[p]
	if pod == nil {
		return false, false
	}
	if oldest := time.Now().Add(-maxAge); then.Before(oldest) {
		then = oldest
	}
	return true, seq <= pod.history.until(then)
}

// remote reports whether the pod is in another data center than this one.
func (m *members) remote(p peer) bool { return p.dc != m.self.dc }

// serving returns the other pods that serve the host, as far as they are known. Those that are silent for a while are
// among them if withSuspects is set.
func (m *members) serving(host presence.HostName, scope Scope, withSuspects bool) []peer {
	if scope == ScopePod {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []peer
	looked := make(map[*served]bool, 4) // pods of one configuration share it
	for p, pod := range m.pods {
		if scope == ScopeDC && m.remote(p) || pod.suspect && !withSuspects {
			continue
		}
		if pod.served.remembers(looked, host.String()) {
			list = append(list, p)
		}
	}
	return list
}

// everybody returns all members.
func (m *members) everybody() []peer {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]peer, 0, len(m.pods))
	for p := range m.pods {
		list = append(list, p)
	}
	return list
}

// change makes one, and tells of it afterwards.
func (m *members) change(f func(now time.Time)) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	f(time.Now())
	after := m.after
	m.after = nil
	m.mu.Unlock()
	for _, tell := range after {
		tell()
	}
}

// then has something done after the change.
func (m *members) then(f func()) { m.after = append(m.after, f) }

// take takes what pods say of themselves: heartbeats, goodbyes and sites.
func (m *members) take(from peer, msg message.Message) {
	switch msg := msg.(type) {
	case *message.Heartbeat:
		if from == m.self {
			// All that is said to all comes back, but nothing that was never said.
			if msg.Seq == 0 || msg.Seq > m.link.seq.Load() {
				m.link.forged.Add(1)
			}
			return
		}
		m.change(func(now time.Time) { m.heartbeat(from, msg, now) })
	case *message.Goodbye:
		if from != m.self {
			m.change(func(now time.Time) { m.goodbye(from, now) })
		}
	case *message.Probe:
		m.change(func(now time.Time) { m.answerProbe(from, msg.Nonce, now) })
	case *message.Sites:
		m.change(func(now time.Time) { m.takeSites(from, msg) })
	case *message.SitesWanted:
		m.change(func(now time.Time) { m.tellSites(from, now) })
	default:
		m.link.unknown.Add(1)
	}
}

func (m *members) heartbeat(from peer, hb *message.Heartbeat, now time.Time) {
	pod := m.pods[from]
	switch {
	case pod == nil:
		if pod = m.admit(from, hb, now); pod == nil {
			return
		}
	case hb.Seq <= pod.seq:
		if hb.Seq <= pod.history.until(now.Add(-m.timing.heartbeat)) {
			m.link.repeated.Add(1)
		}
		return // it comes twice or late, and says nothing about now
	}
	pod.heard, pod.seq = now, hb.Seq
	pod.history.add(now, hb.Seq)
	pod.draining = hb.Draining
	pod.connections, pod.hosts = hb.Connections, hb.Hosts
	if pod.suspect {
		pod.suspect = false
		m.then(func() { m.follow.sitesChanged(from) })
	}
	if hb.Hello {
		m.pulse.answer()
	}
	m.hearSum(pod, hb.Sites, now)
}

// admit takes in a pod that is new or back. It returns nil if the heartbeat is no reason to.
func (m *members) admit(from peer, hb *message.Heartbeat, now time.Time) *member {
	end, before := m.ended[from]
	if before && hb.Seq <= end.seq {
		m.link.unknown.Add(1)
		return nil
	}
	if len(m.pods) >= maxPods {
		m.refuse(from)
		return nil
	}
	namesakes := m.namesakes(from)
	clash := before && (len(namesakes) > 0 || m.isNamesake(from))
	if !before {
		// The latest run of a pod ends those before it, unless they are heard again.
		for _, p := range namesakes {
			if later(p, from) {
				m.end(from, hb.Seq, now)
				return nil
			}
		}
		if m.isNamesake(from) {
			m.end(from, hb.Seq, now)
			return nil
		}
	}
	if !m.probed(from, hb, now) {
		return nil
	}
	if !before {
		m.replace(namesakes, now)
		namesakes = nil
	}
	pod := &member{peer: from, heard: now, askAgain: now.Add(askAgainAfter)}
	m.pods[from] = pod
	delete(m.ended, from)
	delete(m.lost, podName{from.dc, from.pod})
	m.pulse.newcomer(now)
	m.log(m.logger.Info, "pod joined", from, "")
	if clash && !hb.Draining {
		m.conflict(pod, namesakes)
	}
	m.then(func() { m.follow.up(from) })
	m.weigh()
	m.pulse.answer()
	return pod
}

// refuse counts a pod that is one too many.
func (m *members) refuse(from peer) {
	m.link.unknown.Add(1)
	if _, ok := m.refused.Allow(complainEvery); ok {
		m.log(m.logger.Error, "too many pods: another one is ignored", from, "")
	}
}

func (m *members) isNamesake(p peer) bool {
	return p.dc == m.self.dc && p.pod == m.self.pod && p != m.self
}

// namesakes returns other runs of the pod that are alive.
func (m *members) namesakes(of peer) []peer {
	var list []peer
	for p := range m.pods {
		if p.dc == of.dc && p.pod == of.pod && p != of {
			list = append(list, p)
		}
	}
	return list
}

// earlier returns the runs of the pod that are alive and were started before that one.
func (m *members) earlier(than peer) []peer {
	return slices.DeleteFunc(m.namesakes(than), func(p peer) bool { return later(p, than) })
}

// replace takes out pods that a later run of theirs has ended.
func (m *members) replace(pods []peer, now time.Time) {
	for _, p := range pods {
		m.remove(p, m.pods[p].seq, now)
		m.log(m.logger.Info, "pod left", p, "replaced")
		m.then(func() { m.follow.down(p) })
	}
}

// later reports whether a is a later run of the pod than b.
func later(a, b peer) bool { return compareIncarnations(a.inc, b.inc) > 0 }

// conflict notes that two processes have one name: both go on saying that they are alive. One that drains is taken for
// the one before, which ends.
func (m *members) conflict(pod *member, namesakes []peer) {
	found := false
	for _, p := range namesakes {
		if other := m.pods[p]; !other.draining {
			other.conflict, found = true, true
		}
	}
	if m.isNamesake(pod.peer) {
		m.selfConflict, found = true, true
	}
	if pod.conflict = found; found {
		m.log(m.logger.Error, "two processes have the name of one pod", pod.peer, "")
	}
}

func (m *members) goodbye(from peer, now time.Time) {
	pod := m.pods[from]
	_, before := m.ended[from]
	m.end(from, ^uint64(0), now) // its last heartbeats may come late
	if pod == nil {
		// A run that has ended before this pod knew it has ended those before it all the same.
		if earlier := m.earlier(from); !before && len(earlier) > 0 {
			m.replace(earlier, now)
			m.weigh()
			return
		}
		if lost := m.lost[podName{from.dc, from.pod}]; lost != nil && !later(lost.peer, from) {
			delete(m.lost, podName{from.dc, from.pod})
			m.weigh()
			return
		}
		m.link.unknown.Add(1)
		return
	}
	m.remove(from, ^uint64(0), now)
	m.log(m.logger.Info, "pod left", from, "goodbye")
	m.then(func() { m.follow.down(from) })
	m.weigh()
}

// remove takes a pod out.
func (m *members) remove(p peer, seq uint64, now time.Time) {
	delete(m.pods, p)
	m.end(p, seq, now)
	namesakes := m.namesakes(p)
	if len(namesakes) == 0 && m.isNamesake(p) {
		m.selfConflict = false
	}
	if len(namesakes) == 1 && !m.isNamesake(p) {
		m.pods[namesakes[0]].conflict = false
	}
}

// end keeps in mind that a run of a pod ended. Of too many, the first one is forgotten.
func (m *members) end(p peer, seq uint64, now time.Time) {
	if _, known := m.ended[p]; !known && len(m.ended) >= maxPods {
		first := p
		for other, end := range m.ended {
			if first == p || end.at.Before(m.ended[first].at) {
				first = other
			}
		}
		delete(m.ended, first)
	}
	m.ended[p] = ending{seq, now}
}

// log logs after the change.
func (m *members) log(write func(string, ...zap.Field), what string, p peer, reason string) {
	fields := []zap.Field{zap.String("dc", p.dc), zap.String("pod", p.pod), zap.String("incarnation", incarnationText(p.inc))}
	if reason != "" {
		fields = append(fields, zap.String("reason", reason))
	}
	m.then(func() { write(what, fields...) })
}
