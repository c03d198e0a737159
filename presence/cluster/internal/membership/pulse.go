package membership

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/work"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// answerEvery is the minimum time between heartbeats that answer those of new pods.
	answerEvery = 100 * time.Millisecond
	// helloEvery is the maximum time between heartbeats until this pod has settled.
	helloEvery = 500 * time.Millisecond
)

// pulse has the state of this pod's own heartbeats, and whether it hears those of others.
type pulse struct {
	draining atomic.Bool
	ready    atomic.Bool // has been settled once
	wake     work.Signal // wakes the goroutine of Run
	timing   timing.Timing

	// mu guards the fields below.
	mu        sync.Mutex
	sent      time.Time     // time of the last heartbeat
	wanted    bool          // a heartbeat is wanted as soon as answerEvery allows
	due       time.Time     // time of the next heartbeat
	dueSlept  time.Duration // how long the machine had been suspended when due was set
	connected bool          // the bus is connected
	settled   bool          // had time to discover other pods
	since     time.Time     // time since which it discovers them
	newest    time.Time     // time of the last discovery
}

func (u *pulse) init(t timing.Timing) {
	u.wake = work.NewSignal()
	u.timing = t
	u.connected = true
}

// requestBeat requests a heartbeat, for pods that do not know this one.
func (u *pulse) requestBeat() {
	u.mu.Lock()
	u.wanted = true
	u.mu.Unlock()
	u.wake.Wake()
}

// recordNewcomer records that a new pod was discovered.
func (u *pulse) recordNewcomer(now time.Time) {
	u.mu.Lock()
	u.newest = now
	u.mu.Unlock()
}

// knowsPods reports whether this pod knows which pods are alive.
func (u *pulse) knowsPods() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.settled && u.connected && !u.late(time.Now())
}

// late reports whether a heartbeat was due long ago, because the process or the machine was
// stopped. u.mu is held.
func (u *pulse) late(now time.Time) bool {
	return !u.due.IsZero() && (now.Sub(u.due) > u.timing.Paused || u.timing.SleptTime()-u.dueSlept > u.timing.Paused)
}

// settledNow reports whether this pod has joined, and the bus was not interrupted since.
func (u *pulse) settledNow() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.settled
}

// connectedNow reports whether the bus is connected.
func (u *pulse) connectedNow() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.connected
}

// SetConnected records whether the bus is connected. After a reconnect, pods get time to send a
// heartbeat.
func (m *Members) SetConnected(connected bool) {
	u := &m.pulse
	u.mu.Lock()
	was := u.connected
	u.connected = connected
	u.mu.Unlock()
	if connected && !was {
		m.listenAgain("the bus was disconnected")
	}
}

// listenAgain handles that this pod received nothing for a while, which says nothing about other
// pods.
func (m *Members) listenAgain(why string) {
	m.change(func(now time.Time) {
		for _, pod := range m.pods {
			pod.heard = now
			pod.view.confirmed, pod.view.requested = false, time.Time{}
		}
		m.restartSilence("", now)
		m.pulse.mu.Lock()
		m.pulse.settled, m.pulse.since, m.pulse.wanted = false, now, true
		m.pulse.mu.Unlock()
		m.afterChange(func() {
			m.logger.Warn("other pods were not heard for a while", zap.String("reason", why))
			m.observer.RecheckAll()
		})
	})
	m.pulse.wake.Wake()
}

// Run sends heartbeats, and removes silent pods, until stop is closed.
func (m *Members) Run(stop <-chan struct{}) {
	m.pulse.mu.Lock()
	m.pulse.since = time.Now()
	m.pulse.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		case <-m.pulse.wake:
		}
		if m.timing.Stall != nil {
			m.timing.Stall()
		}
		timer.Reset(m.step())
	}
}

// step does what is due, and returns the time until the next step. It reads the clock once: if the
// process is stopped meanwhile, the pause does not count as silence of other pods.
func (m *Members) step() time.Duration {
	now := time.Now()
	if m.pulse.overslept(now) {
		m.listenAgain("this process did not run")
	}
	if m.pulse.sendNow(now, m.timing) {
		m.beat()
	}
	var next time.Time
	joining, confirmed := !m.pulse.settledNow(), true
	m.change(func(time.Time) {
		next = work.Earliest(m.checkSilence(now), m.requestLists(now, joining), m.sendNews(now))
		for _, pod := range m.pods {
			confirmed = confirmed && pod.view.confirmed
		}
	})
	joined := !joining || confirmed && m.synced()
	return time.Until(work.Earliest(next, m.pulse.next(now, m.timing, joined)))
}

// overslept reports, once for each pause, whether the process did not run for a while.
func (u *pulse) overslept(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.late(now) {
		return false
	}
	u.due, u.dueSlept = now, u.timing.SleptTime()
	return true
}

// sendNow reports whether to send a heartbeat, and sets the time of the next one.
func (u *pulse) sendNow(now time.Time, t timing.Timing) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := !now.Before(u.due)
	if !due && (!u.wanted || now.Sub(u.sent) < answerEvery) {
		return false
	}
	if due {
		every := t.Heartbeat
		if !u.settled {
			every = min(every, helloEvery)
		}
		u.due = now.Add(every)
		u.dueSlept = t.SleptTime()
	}
	u.sent, u.wanted = now, false
	return true
}

// next updates settled, and returns the time of the next step. joined reports whether this pod has
// joined, except for the time that it gives others.
func (u *pulse) next(now time.Time, t timing.Timing, joined bool) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := u.due
	if u.wanted {
		next = work.Earliest(next, u.sent.Add(answerEvery))
	}
	if u.settled {
		return next
	}
	earliest := t.Earliest
	if u.ready.Load() {
		earliest = t.Quiet // all pods know this one, and answer at once
	}
	at := u.since.Add(earliest)
	if quiet := u.newest.Add(t.Quiet); quiet.After(at) {
		at = quiet
	}
	latest := u.since.Add(t.Latest)
	at = work.Earliest(at, latest)
	if now.Before(at) {
		return work.Earliest(next, at)
	}
	if !joined && now.Before(latest) {
		return work.Earliest(next, latest, now.Add(joinAgain))
	}
	u.settled = u.connected
	if u.connected || !now.Before(latest) {
		u.ready.Store(true)
		return next
	}
	return work.Earliest(next, latest)
}

// joinAgain is the time between two looks whether this pod has joined.
const joinAgain = 100 * time.Millisecond

// beat sends a heartbeat to all.
func (m *Members) beat() { m.beatTo(m.link.All(), 0) }

// beatTo sends a heartbeat, with the nonce of the probe that it answers.
func (m *Members) beatTo(subject string, nonce uint64) {
	connections, hosts := m.load()
	m.mu.Lock()
	sum := m.own.Sum
	heard, missed := m.sums()
	m.mu.Unlock()
	m.pulse.mu.Lock()
	hello := !m.pulse.settled
	m.pulse.mu.Unlock()
	m.link.Send(subject, &message.Heartbeat{
		Connections: connections,
		Hosts:       hosts,
		Sites:       sum,
		Heard:       heard,
		Missed:      missed,
		Clock:       m.Clock(),
		Draining:    m.pulse.draining.Load(),
		Hello:       hello,
		Nonce:       nonce,
	})
}
