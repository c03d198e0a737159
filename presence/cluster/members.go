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

// maxPods limits the known pods. Without a secret, every client of the bus can announce some.
const maxPods = 4096

// member is another pod that is alive, as far as this one knows.
type member struct {
	peer
	heard       time.Time // time of its last heartbeat
	seq         uint64    // number of its last heartbeat
	history     history   // starts with the answer to the probe
	askAgain    time.Time // see askAgainAfter; zero if that is done
	suspect     bool      // silent for timing.suspect
	draining    bool
	conflict    bool // another process has the same name
	connections uint64
	hosts       uint64

	sum            uint64  // sum of the sites that it serves
	served         *served // the sites with that sum; nil if unknown, and then it may serve any host
	parts          siteParts
	sitesRequested time.Time // time at which its sites were last requested
	sitesSent      time.Time // time at which it was last sent the sites of this pod
}

// ending is the end of an incarnation. It is kept so that no late or replayed heartbeat brings the
// incarnation back.
type ending struct {
	seq uint64
	at  time.Time
}

// Observer is notified of changes, one at a time and in order, without members.mu.
type Observer interface {
	PodUp(p peer)        // the pod has joined, again or for the first time
	PodDown(p peer)      // the pod has left
	RecheckAll()         // this pod may have missed anything
	SitesChanged(p peer) // the pod serves other hosts, or its recent messages may be lost
}

// members tracks the pods that are alive, by heartbeats and goodbyes (this file) or their absence
// (pulse.go).
type members struct {
	link     *link
	self     peer
	timing   timing
	probes   probes
	logger   *zap.Logger
	load     func() (connections, hosts uint64)
	observer Observer

	pulse pulse

	// turn is held during a change and its notifications. It is locked before mu.
	turn sync.Mutex

	// mu guards the fields below. Writers hold turn too.
	mu    sync.RWMutex
	pods  map[peer]*member
	ended map[peer]ending
	lost  map[podName]*lostPod
	cut   map[string]bool // data centers that count as partitioned from this one
	own   announcement    // sites that this pod serves

	selfConflict bool
	after        []func()       // functions to call after the change, without mu
	refused      oftenlog.Limit // limits the log lines about too many pods
}

// podName identifies a pod across its incarnations.
type podName struct{ dc, pod string }

func newMembers(l *link, t timing, load func() (connections, hosts uint64), obs Observer, logger *zap.Logger) *members {
	m := &members{
		link: l, self: l.Self(), timing: t, logger: logger, load: load, observer: obs,
		pods:  make(map[peer]*member),
		ended: make(map[peer]ending),
		lost:  make(map[podName]*lostPod),
		cut:   make(map[string]bool),
		own:   announce([]message.Site{}),
	}
	m.pulse.init(t.paused)
	l.SetStanding(m.standing)
	return m
}

// Ready reports whether this pod has had time to discover other pods. It stays true from then on.
func (m *members) Ready() bool { return m.pulse.ready.Load() }

// KnowsPods reports whether this pod knows now which pods are alive.
func (m *members) KnowsPods() bool { return m.pulse.knowsPods() }

// Drain announces to other pods that this one is about to end.
func (m *members) Drain() {
	m.pulse.draining.Store(true)
	m.beat()
}

// alive reports whether the pod is a member. Suspect and draining pods are.
func (m *members) alive(p peer) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pods[p] != nil
}

// standing reports whether the pod is a member, and whether its payload with that number was
// published before then, or more than maxAge ago.
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

// remote reports whether the pod is in another data center.
func (m *members) remote(p peer) bool { return p.dc != m.self.dc }

// serving returns the other pods that may serve the host, with suspects only if withSuspects is
// set.
func (m *members) serving(host presence.HostName, scope Scope, withSuspects bool) []peer {
	if scope == ScopePod {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []peer
	looked := make(map[*served]bool, 4) // pods with one configuration share it
	for p, pod := range m.pods {
		if scope == ScopeDC && m.remote(p) || pod.suspect && !withSuspects {
			continue
		}
		if pod.served.cachedServes(looked, host.String()) {
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

// change makes a change, and then its notifications.
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

// afterChange calls f after the change.
func (m *members) afterChange(f func()) { m.after = append(m.after, f) }

// handle handles heartbeats, goodbyes, probes and messages about sites.
func (m *members) handle(from peer, msg message.Message) {
	switch msg := msg.(type) {
	case *message.Heartbeat:
		if from == m.self {
			// A pod receives its own heartbeats. A number that it has not sent is forged.
			if msg.Seq == 0 || msg.Seq > m.link.Seq() {
				m.link.counts.forged.Add(1)
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
		m.change(func(now time.Time) { m.addSites(from, msg) })
	case *message.SitesWanted:
		m.change(func(now time.Time) { m.sendSites(from, now) })
	default:
		m.link.counts.unknown.Add(1)
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
			m.link.counts.repeated.Add(1)
		}
		return // it is repeated or late, and says nothing about the present
	}
	pod.heard, pod.seq = now, hb.Seq
	pod.history.add(now, hb.Seq)
	pod.draining = hb.Draining
	pod.connections, pod.hosts = hb.Connections, hb.Hosts
	if pod.suspect {
		pod.suspect = false
		m.afterChange(func() { m.observer.SitesChanged(from) })
	}
	if hb.Hello {
		m.pulse.requestBeat()
	}
	m.updateSum(pod, hb.Sites, now)
}

// admit adds a pod that is new or back. It returns nil if the heartbeat is not enough for that.
func (m *members) admit(from peer, hb *message.Heartbeat, now time.Time) *member {
	end, before := m.ended[from]
	if before && hb.Seq <= end.seq {
		m.link.counts.unknown.Add(1)
		return nil
	}
	if len(m.pods) >= maxPods {
		m.refuse(from)
		return nil
	}
	namesakes := m.namesakes(from)
	clash := before && (len(namesakes) > 0 || m.isNamesake(from))
	if !before {
		// The latest incarnation of a pod ends the earlier ones, unless these send heartbeats
		// again.
		for _, p := range namesakes {
			if later(p, from) {
				m.recordEnd(from, hb.Seq, now)
				return nil
			}
		}
		if m.isNamesake(from) {
			m.recordEnd(from, hb.Seq, now)
			return nil
		}
	}
	if !m.probed(from, hb, now) {
		return nil
	}
	if !before {
		m.removeReplaced(namesakes, now)
		namesakes = nil
	}
	pod := &member{peer: from, heard: now, askAgain: now.Add(askAgainAfter)}
	m.pods[from] = pod
	delete(m.ended, from)
	delete(m.lost, podName{from.dc, from.pod})
	m.pulse.recordNewcomer(now)
	m.log(m.logger.Info, "pod joined", from, "")
	if clash && !hb.Draining {
		m.markConflict(pod, namesakes)
	}
	m.afterChange(func() { m.observer.PodUp(from) })
	m.updatePartitions()
	m.pulse.requestBeat()
	return pod
}

// refuse counts a pod beyond maxPods.
func (m *members) refuse(from peer) {
	m.link.counts.unknown.Add(1)
	if _, ok := m.refused.Allow(complainEvery); ok {
		m.log(m.logger.Error, "too many pods: another one is ignored", from, "")
	}
}

func (m *members) isNamesake(p peer) bool {
	return p.dc == m.self.dc && p.pod == m.self.pod && p != m.self
}

// namesakes returns other incarnations of the pod that are alive.
func (m *members) namesakes(of peer) []peer {
	var list []peer
	for p := range m.pods {
		if p.dc == of.dc && p.pod == of.pod && p != of {
			list = append(list, p)
		}
	}
	return list
}

// earlier returns live incarnations of the pod that started before than.
func (m *members) earlier(than peer) []peer {
	return slices.DeleteFunc(m.namesakes(than), func(p peer) bool { return later(p, than) })
}

// removeReplaced removes pods that a later incarnation has ended.
func (m *members) removeReplaced(pods []peer, now time.Time) {
	for _, p := range pods {
		m.remove(p, m.pods[p].seq, now)
		m.log(m.logger.Info, "pod left", p, "replaced")
		m.afterChange(func() { m.observer.PodDown(p) })
	}
}

// later reports whether a is a later incarnation of the pod than b.
func later(a, b peer) bool { return compareIncarnations(a.inc, b.inc) > 0 }

// markConflict records that two processes have one name: both continue to send heartbeats. An
// incarnation that drains does not count, because it is about to end.
func (m *members) markConflict(pod *member, namesakes []peer) {
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
	m.recordEnd(from, ^uint64(0), now) // its last heartbeats may arrive late
	if pod == nil {
		// An incarnation that has ended before this pod knew it has ended the earlier ones
		// nevertheless.
		if earlier := m.earlier(from); !before && len(earlier) > 0 {
			m.removeReplaced(earlier, now)
			m.updatePartitions()
			return
		}
		if lost := m.lost[podName{from.dc, from.pod}]; lost != nil && !later(lost.peer, from) {
			delete(m.lost, podName{from.dc, from.pod})
			m.updatePartitions()
			return
		}
		m.link.counts.unknown.Add(1)
		return
	}
	m.remove(from, ^uint64(0), now)
	m.log(m.logger.Info, "pod left", from, "goodbye")
	m.afterChange(func() { m.observer.PodDown(from) })
	m.updatePartitions()
}

// remove removes a pod.
func (m *members) remove(p peer, seq uint64, now time.Time) {
	delete(m.pods, p)
	m.recordEnd(p, seq, now)
	namesakes := m.namesakes(p)
	if len(namesakes) == 0 && m.isNamesake(p) {
		m.selfConflict = false
	}
	if len(namesakes) == 1 && !m.isNamesake(p) {
		m.pods[namesakes[0]].conflict = false
	}
}

// recordEnd records the end of an incarnation. If there are too many, it drops the oldest.
func (m *members) recordEnd(p peer, seq uint64, now time.Time) {
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

// log writes a line after the change.
func (m *members) log(write func(string, ...zap.Field), what string, p peer, reason string) {
	fields := []zap.Field{zap.String("dc", p.dc), zap.String("pod", p.pod), zap.String("incarnation", incarnationText(p.inc))}
	if reason != "" {
		fields = append(fields, zap.String("reason", reason))
	}
	m.afterChange(func() { write(what, fields...) })
}
