// Package membership tracks which pods are alive, missing or dead, and which hosts they serve.
//
// A pod is alive while its heartbeats are heard (incarnations.go). When it is silent for
// Timing.Gone, it becomes missing (silence.go), and answers name it until it is heard again or
// found dead (lost.go): it has said goodbye, a later run has its name, another pod knows of its
// end, an operator makes the pods forget it (forget.go), or it has crashed. This last verdict needs
// more than half of its data center. For it, pods compare which runs they hear and miss: by sums in
// heartbeats, and by lists where the sums differ (runs.go, descriptions.go).
//
// This pod has joined when all pods that it hears have confirmed that they hear it (pulse.go). What
// it knows goes to its next run by a [Memory] (remember.go).
//
// Times are monotonic. The cluster's clock, which never goes back, is for other packages
// (clock.go).
//
// Heartbeats, goodbyes, probes, lists and sites arrive at [Members.Handle]. [Members.Run] sends
// this pod's heartbeats and detects the silence of others. Each change is made under the lock and
// then reported to the [Observer], without it. Other rooms read by Serving, Alive, Unreachable and
// KnowsPods.
//
// Members.turn is held during a change and its notifications, so that they are in order. It is
// locked before Members.mu, which guards the pods. pulse.mu guards the state of this pod's own
// heartbeats; nothing else is locked under it.
package membership

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxPods limits the known pods. Without a secret, every client of the bus can announce some.
const maxPods = 4096

// member is another pod that is alive, as far as this one knows.
type member struct {
	link.Peer
	id          uint64 // see link.Peer.ID
	tenure      tenure
	heard       time.Time // time of its last heartbeat
	seq         uint64    // number of its last heartbeat
	history     history   // starts with the answer to the probe
	suspect     bool      // silent for Timing.Suspect
	draining    bool
	conflict    bool // another process has the same name
	connections uint64
	hosts       uint64
	view        view

	sum            uint64        // sum of the sites that it serves
	served         *sites.Served // the sites with that sum; nil if unknown, and then it may serve any host
	parts          siteParts
	sitesRequested time.Time // time at which its sites were last requested
	sitesSent      time.Time // time at which it was last sent the sites of this pod
}

// Observer is notified of changes, one at a time and in order, without Members.mu.
type Observer interface {
	// PodUp is called when the pod has joined. back is set if it was there before, and silent.
	PodUp(p link.Peer, back bool)
	PodDown(p link.Peer)      // the pod has left
	RecheckAll()              // this pod may have missed anything
	HeardAgain(p link.Peer)   // the pod was silent or missing, and may have taken this one for ended
	SitesChanged(p link.Peer) // the pod serves other hosts, or its recent messages may be lost
}

// Members tracks the pods that are alive, by heartbeats and goodbyes (incarnations.go) or their
// absence (silence.go).
type Members struct {
	link      *link.Link
	self      link.Peer
	timing    timing.Timing
	probes    probes
	logger    *zap.Logger
	load      func() (connections, hosts uint64)
	observer  Observer
	synced    func() bool                                                      // see SetSynced
	syncedFor func(host presence.HostName) bool                                // the same
	unsettled func(host presence.HostName) (missing bool, crashed []link.Peer) // the same
	selfID    uint64                                                           // see link.Peer.ID
	saveSoon  work.Signal                                                      // what Remember saves has changed
	unsaved   oftenlog.Limit

	pulse pulse

	timeouts atomic.Pointer[timeouts]
	clock    clock

	// turn is held during a change and its notifications. It is locked before mu.
	turn sync.Mutex

	// mu guards the fields below. Writers hold turn too.
	mu     sync.RWMutex
	pods   map[link.Peer]*member
	ended  map[link.Peer]ending
	named  map[podName][]link.Peer // runs of each pod in pods and ended
	lost   map[podName]*lostPod    // pods that are missing
	cut    map[string]bool         // data centers with missing pods that cannot count as crashed
	own    sites.Announcement      // sites that this pod serves
	tenure tenure                  // of this pod
	fresh  bool                    // its tenure began after a goodbye of an earlier run, which some pods may not have heard
	// heardAgain has the time at which a pod of a data center was last heard after it was silent.
	heardAgain map[string]time.Time

	sumsKnown           bool // the sums below are those of pods and lost
	heardSum, missedSum uint64
	lookUrgently        bool        // a missing pod may have crashed, and the lists of other pods tell
	news                []link.Peer // see noteNews
	newsSince           time.Time   // time of the first of them

	memory   Memory // nil without one
	started  int64  // start of this run, in Unix milliseconds
	newSites map[uint64][]message.Site

	selfConflict bool
	after        []func()       // functions to call after the change, without mu
	refused      oftenlog.Limit // limits the log lines about too many pods
}

// podName identifies a pod across its incarnations.
type podName struct{ dc, pod string }

func nameOf(p link.Peer) podName { return podName{p.DC, p.Pod} }

// New returns the members of a deployment as the pod of the link sees them. load returns the
// numbers for this pod's heartbeats.
func New(l *link.Link, t timing.Timing, load func() (connections, hosts uint64), obs Observer, logger *zap.Logger) *Members {
	m := &Members{
		link: l, self: l.Self(), timing: t, logger: logger, load: load, observer: obs,
		pods:   make(map[link.Peer]*member),
		selfID: l.Self().ID(), saveSoon: work.NewSignal(), synced: func() bool { return true }, syncedFor: func(presence.HostName) bool { return true },
		unsettled: func(presence.HostName) (bool, []link.Peer) { return false, nil },
		tenure:    tenure{since: time.Now()},

		heardAgain: make(map[string]time.Time),

		ended: make(map[link.Peer]ending),
		named: make(map[podName][]link.Peer),
		lost:  make(map[podName]*lostPod),
		cut:   make(map[string]bool),
		own:   sites.Announce([]message.Site{{}}), // every host, until SetSites
	}
	m.pulse.init(t)
	m.SetTimeouts(t.Timeout, t.Remote)
	m.clock.init(t.WallTime(), time.Now(), 0)
	m.sums()
	l.SetStanding(m.standing)
	return m
}

// SetSynced sets the functions that report whether this pod has what it needs of other pods,
// besides their confirmation that they hear it: of all hosts that it serves, or of one. Until then
// it has not joined, or not for that host. unsettled returns the pods that it waits for, because it
// has begun to serve the host: missing is set if it waits for all missing pods, and crashed has
// those that count as crashed. SetSynced must be called before Run.
func (m *Members) SetSynced(
	synced func() bool, syncedFor func(host presence.HostName) bool,
	unsettled func(host presence.HostName) (missing bool, crashed []link.Peer),
) {
	m.synced, m.syncedFor, m.unsettled = synced, syncedFor, unsettled
}

// Ready reports whether this pod has joined: no pod was new for Timing.Quiet, every pod that it
// hears has confirmed that it hears this one, and this pod is synced. It stays true from then on,
// and becomes true at Timing.Latest after the start at the latest.
func (m *Members) Ready() bool { return m.pulse.ready.Load() }

// KnowsPods reports whether this pod knows now which pods are alive.
func (m *Members) KnowsPods() bool { return m.pulse.knowsPods() }

// Joined reports whether this pod knows now which pods are alive, and is synced for the host. The
// zero HostName is every host that it serves.
func (m *Members) Joined(host presence.HostName) bool {
	if host.IsZero() {
		return m.KnowsPods() && m.synced()
	}
	return m.KnowsPods() && m.syncedFor(host)
}

// Drain announces to other pods that this one is about to end.
func (m *Members) Drain() {
	m.pulse.draining.Store(true)
	m.beat()
}

// Alive reports whether the pod is a member. Suspect and draining pods are.
func (m *Members) Alive(p link.Peer) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.pods[p] != nil
}

// standing reports whether the pod is a member, and whether its payload with that number was
// published before then, or more than link.MaxAge ago.
func (m *Members) standing(p link.Peer, seq uint64, then time.Time) (alive, old bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	pod := m.pods[p]
	if pod == nil {
		return false, false
	}
	if oldest := time.Now().Add(-link.MaxAge); then.Before(oldest) {
		then = oldest
	}
	return true, seq <= pod.history.until(then)
}

// Remote reports whether the pod is in another data center.
func (m *Members) Remote(p link.Peer) bool { return p.DC != m.self.DC }

// Serving returns the other pods that may serve the host, with suspects only if withSuspects is
// set.
func (m *Members) Serving(host presence.HostName, scope Scope, withSuspects bool) []link.Peer {
	if scope == ScopePod {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []link.Peer
	looked := make(map[*sites.Served]bool, 4) // pods with one configuration share it
	for p, pod := range m.pods {
		if scope == ScopeDC && m.Remote(p) || pod.suspect && !withSuspects {
			continue
		}
		if pod.served.ServesCached(looked, host.String()) {
			list = append(list, p)
		}
	}
	return list
}

// Confirming returns the other pods that must confirm a complete change about the host: those that
// may serve it, and all of a data center in which a pod counts as crashed. That pod may be alive,
// and make a majority with some of these later, to which this pod has crashed: then it has the
// change from them.
func (m *Members) Confirming(host presence.HostName) []link.Peer {
	list := m.Serving(host, ScopeAll, true)
	m.mu.RLock()
	defer m.mu.RUnlock()
	crashed := make(map[string]bool)
	for p := range m.crashed() {
		crashed[p.DC] = true
	}
	for p := range m.pods {
		if crashed[p.DC] && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// Speakers returns the other pods that have events for the host.
func (m *Members) Speakers(host presence.HostName) []link.Peer {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []link.Peer
	looked := make(map[*sites.Served]bool, 4)
	for p, pod := range m.pods {
		if pod.served.SpeaksCached(looked, host.String()) {
			list = append(list, p)
		}
	}
	return list
}

// rumored is how long a pod that counts as crashed may still be alive, see Misses.
const rumored = time.Hour

// Misses reports whether a pod is missing, or has become silent lately without a goodbye and is not
// back: it can run on, although it counts as crashed.
func (m *Members) Misses() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.lost) > 0 {
		return true
	}
	now := time.Now()
	for p, end := range m.ended {
		if said := end.seq == ^uint64(0); !said && now.Sub(end.at) < rumored && len(m.namesakes(p)) == 0 && !m.isNamesake(p) {
			return true
		}
	}
	return false
}

// HasSpeakers reports whether another pod has events for any host.
func (m *Members) HasSpeakers() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, pod := range m.pods {
		if pod.served.Speaks() {
			return true
		}
	}
	return false
}

// Speaks reports whether this pod has events for the host.
func (m *Members) Speaks(host presence.HostName) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.own.Served.SpeaksCached(make(map[*sites.Served]bool, 1), host.String())
}

// Settled reports whether this pod knows which pods are alive, or does not wait for that: the bus
// is disconnected for longer than a start takes.
func (m *Members) Settled() bool {
	return m.Ready() && (m.KnowsPods() || !m.pulse.connectedNow())
}

// All returns all members.
func (m *Members) All() []link.Peer {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]link.Peer, 0, len(m.pods))
	for p := range m.pods {
		list = append(list, p)
	}
	return list
}

// change makes a change, and then its notifications.
func (m *Members) change(f func(now time.Time)) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	f(time.Now())
	m.sums() // so that readers find them
	after := m.after
	m.after = nil
	m.mu.Unlock()
	for _, tell := range after {
		tell()
	}
}

// afterChange calls f after the change.
func (m *Members) afterChange(f func()) { m.after = append(m.after, f) }

// Handle handles heartbeats, goodbyes, probes and messages about sites.
func (m *Members) Handle(from link.Peer, msg message.Message) {
	switch msg := msg.(type) {
	case *message.Heartbeat:
		if from == m.self {
			// A pod receives its own heartbeats. A number that it has not sent is forged.
			if msg.Seq == 0 || msg.Seq > m.link.Seq() {
				m.link.Counts.Forged.Add(1)
			}
			return
		}
		m.change(func(now time.Time) { m.heartbeat(from, msg, now) })
	case *message.Goodbye:
		if from != m.self {
			m.change(func(now time.Time) { m.goodbye(from, msg, now) })
		}
	case *message.RunsWanted:
		m.change(func(now time.Time) { m.answerRuns(from, msg, now) })
	case *message.Runs:
		m.change(func(now time.Time) { m.addRuns(from, msg, now) })
	case *message.Probe:
		m.change(func(now time.Time) { m.answerProbe(from, msg.Nonce, now) })
	case *message.Sites:
		m.change(func(now time.Time) { m.addSites(from, msg) })
	case *message.SitesWanted:
		m.change(func(now time.Time) { m.sendSites(from, now) })
	default:
		m.link.Counts.Unknown.Add(1)
	}
}

// log writes a line after the change.
func (m *Members) log(write func(string, ...zap.Field), what string, p link.Peer, reason string) {
	fields := []zap.Field{zap.String("dc", p.DC), zap.String("pod", p.Pod), zap.String("incarnation", link.IncarnationText(p.Incarnation))}
	if reason != "" {
		fields = append(fields, zap.String("reason", reason))
	}
	m.afterChange(func() { write(what, fields...) })
}
