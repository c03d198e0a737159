package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

const (
	// answerEvery is how far apart heartbeats are at least that answer those of new pods.
	answerEvery = 100 * time.Millisecond
	// helloEvery is how far apart heartbeats are until this pod has heard who else is there.
	helloEvery = 500 * time.Millisecond
)

// pulse is what this pod says of itself, and what it knows of its own ears.
type pulse struct {
	draining atomic.Bool
	ready    atomic.Bool // settled, once
	wake     chan struct{}
	paused   time.Duration // timing.paused

	// mu guards what is below.
	mu        sync.Mutex
	sent      time.Time // the last heartbeat
	wanted    bool      // another one, as soon as answerEvery allows
	due       time.Time // the next one
	dueWall   time.Time // the same by the wall clock, which goes on while the machine sleeps
	connected bool      // to the bus
	settled   bool      // has heard who else is there
	since     time.Time // when it began to listen for that
	newest    time.Time // when somebody new was heard
}

func (u *pulse) init(paused time.Duration) {
	u.wake = make(chan struct{}, 1)
	u.paused = paused
	u.connected = true
}

// rouse has the goroutine of run look at once.
func (u *pulse) rouse() {
	select {
	case u.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// answer has a heartbeat sent, for those who do not know this pod.
func (u *pulse) answer() {
	u.mu.Lock()
	u.wanted = true
	u.mu.Unlock()
	u.rouse()
}

// newcomer notes that somebody new was heard.
func (u *pulse) newcomer(now time.Time) {
	u.mu.Lock()
	u.newest = now
	u.mu.Unlock()
}

// knows reports whether this pod can say who is there.
func (u *pulse) knows() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.settled && u.connected && !u.late(time.Now())
}

// late reports whether a heartbeat was due long ago: the process was stopped, or the machine. u.mu is held.
func (u *pulse) late(now time.Time) bool {
	return !u.due.IsZero() && (now.Sub(u.due) > u.paused || now.Round(0).Sub(u.dueWall) > u.paused)
}

// setConnected notes whether the bus is there. Whoever was not heard meanwhile gets time to be heard again.
func (m *members) setConnected(connected bool) {
	u := &m.pulse
	u.mu.Lock()
	was := u.connected
	u.connected = connected
	u.mu.Unlock()
	if connected && !was {
		m.listenAnew("the bus was disconnected")
	}
}

// listenAnew is for when this pod heard nothing for a while, which says nothing about the others.
func (m *members) listenAnew(why string) {
	m.change(func(now time.Time) {
		for _, pod := range m.pods {
			pod.heard = now
		}
		m.pulse.mu.Lock()
		m.pulse.settled, m.pulse.since, m.pulse.wanted = false, now, true
		m.pulse.mu.Unlock()
		m.then(func() {
			m.logger.Warn("other pods were not heard for a while", zap.String("reason", why))
			m.follow.recheck()
		})
	})
	m.pulse.rouse()
}

// run sends heartbeats and judges the silence of others until stop is closed.
func (m *members) run(stop <-chan struct{}) {
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
		if m.timing.stall != nil {
			m.timing.stall()
		}
		timer.Reset(m.step())
	}
}

// step does what is due, and returns how long until something is. It looks at the clock once: when the process is stopped
// after that, others are not judged by the time that has passed meanwhile.
func (m *members) step() time.Duration {
	now := time.Now()
	if m.pulse.overslept(now) {
		m.listenAnew("this process did not run")
	}
	if m.pulse.sendNow(now, m.timing) {
		m.beat()
	}
	var next time.Time
	m.change(func(time.Time) { next = m.judge(now) })
	next = earlier(next, m.pulse.next(now, m.timing))
	return time.Until(next)
}

// overslept reports whether the process did not run for a while, once.
func (u *pulse) overslept(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.late(now) {
		return false
	}
	u.due, u.dueWall = now, now.Round(0)
	return true
}

// sendNow reports whether to send a heartbeat, and when the next is due.
func (u *pulse) sendNow(now time.Time, t timing) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := !now.Before(u.due)
	if !due && (!u.wanted || now.Sub(u.sent) < answerEvery) {
		return false
	}
	if due {
		every := t.heartbeat
		if !u.settled {
			every = min(every, helloEvery)
		}
		u.due = now.Add(every)
		u.dueWall = u.due.Round(0)
	}
	u.sent, u.wanted = now, false
	return true
}

// next settles if it is time to, and returns when the pulse needs a look again.
func (u *pulse) next(now time.Time, t timing) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := u.due
	if u.wanted {
		next = earlier(next, u.sent.Add(answerEvery))
	}
	if u.settled {
		return next
	}
	earliest := t.earliest
	if u.ready.Load() {
		earliest = t.quiet // all know this pod, and answer at once
	}
	at := u.since.Add(earliest)
	if quiet := u.newest.Add(t.quiet); quiet.After(at) {
		at = quiet
	}
	latest := u.since.Add(t.latest)
	at = earlier(at, latest)
	if now.Before(at) {
		return earlier(next, at)
	}
	u.settled = u.connected
	if u.connected || !now.Before(latest) {
		u.ready.Store(true)
		return next
	}
	return earlier(next, latest)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// beat sends a heartbeat to all.
func (m *members) beat() { m.beatTo(m.link.all(), 0) }

// beatTo sends a heartbeat, with the nonce of the probe that it answers.
func (m *members) beatTo(subject string, nonce uint64) {
	connections, hosts := m.load()
	m.mu.RLock()
	sum := m.own.sum
	m.mu.RUnlock()
	m.pulse.mu.Lock()
	hello := !m.pulse.settled
	m.pulse.mu.Unlock()
	m.link.send(subject, &message.Heartbeat{
		Connections: connections,
		Hosts:       hosts,
		Sites:       sum,
		Draining:    m.pulse.draining.Load(),
		Hello:       hello,
		Nonce:       nonce,
	})
}

// judge finds who is silent, and returns when to look again.
func (m *members) judge(now time.Time) (next time.Time) {
	changed := false
	for p, pod := range m.pods {
		switch {
		case pod.askAgain.IsZero():
		case now.Before(pod.askAgain):
			next = earlier(next, pod.askAgain)
		default:
			pod.askAgain = time.Time{}
			m.then(func() { m.follow.sitesChanged(p) })
		}
		switch silent := now.Sub(pod.heard); {
		case silent >= m.timing.gone:
			m.silent(pod, now)
			changed = true
			continue
		case silent >= m.timing.suspect:
			if !pod.suspect {
				pod.suspect = true
				m.log(m.logger.Debug, "pod is silent", p, "")
			}
			next = earlier(next, pod.heard.Add(m.timing.gone))
		default:
			next = earlier(next, pod.heard.Add(m.timing.suspect))
		}
	}
	for p, end := range m.ended {
		if now.Sub(end.at) >= m.timing.remember {
			delete(m.ended, p)
		}
	}
	for p, last := range m.probes {
		if now.Sub(last.at) >= probeTimeout {
			delete(m.probes, p)
		}
	}
	if m.forget(now) || changed {
		m.weigh()
	}
	return next
}

// silent takes out a pod that said nothing for too long.
func (m *members) silent(pod *member, now time.Time) {
	p := pod.peer
	m.remove(p, pod.seq, now)
	m.log(m.logger.Warn, "pod left", p, "silent")
	m.then(func() { m.follow.down(p) })
	if len(m.namesakes(p)) == 0 && !m.isNamesake(p) {
		m.miss(pod, now)
	}
}
