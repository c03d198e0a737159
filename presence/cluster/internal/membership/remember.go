package membership

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/sites"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Memory keeps what a pod knows of others for its next run.
type Memory interface {
	Load() (memory.State, error)
	// Save replaces the state. Its Sites are only those that are new since the last Save.
	Save(s memory.State) error
}

const (
	// saveEvery is the time between saves without changes, for ages and numbers of heartbeats.
	saveEvery = 30 * time.Second
	// saveDelay is the minimum time between a change and the next one that is saved.
	saveDelay = 100 * time.Millisecond
	// clockReserve is how far ahead of the cluster's clock the saved reading is. The clock of the next run
	// begins there if this one is killed.
	clockReserve = 2 * saveEvery
)

// Restore adds what the last run knew: the pods that it heard or missed are missing until they are
// heard, or until another pod knows that they have ended. It must be called before Run. The state is
// saved to mem from then on.
func (m *Members) Restore(mem Memory, st memory.State) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.clock.init(m.timing.WallTime(), now, st.Clock)
	m.recall(mem, st, now)
}

// Recall is Restore for a pod that runs already. It does not add pods that are heard now. Of their sites,
// those that the memory lacks are requested again.
func (m *Members) Recall(mem Memory, st memory.State) {
	m.change(func(now time.Time) {
		m.clock.advance(st.Clock, now)
		heard := make(map[podName]bool)
		for p := range m.pods {
			heard[nameOf(p)] = true
		}
		st.Runs = slices.DeleteFunc(st.Runs, func(r message.Run) bool { return heard[podName{r.DataCenter, r.Pod}] })
		m.recall(mem, st, now)
		for _, pod := range m.pods {
			switch _, kept := st.Sites[pod.sum]; {
			case kept:
			case pod.sum == m.own.Sum:
				m.noteSites(pod.sum, m.own.Sites())
			default:
				pod.served = nil // until then, it may serve any host
				m.requestSites(pod, now)
			}
		}
	})
	m.pulse.wake.Wake()
}

func (m *Members) recall(mem Memory, st memory.State, now time.Time) {
	m.memory, m.started = mem, max(m.self.Incarnation.Started, st.Started)
	compiled := make(map[uint64]*sites.Served, len(st.Sites))
	for sum, list := range st.Sites {
		compiled[sum] = sites.Compile(sum, list)
	}
	var since time.Time // time since which others hear or miss the runs of this pod
	goodbye := false    // of the last run
	for i := range st.Runs {
		r := &st.Runs[i]
		p := peerOf(r)
		if p.DC == m.self.DC && p.Pod == m.self.Pod {
			since, goodbye = timeOf(r, now), goodbye || r.Standing == message.Ended
			m.fresh = goodbye || r.Tenure.Since > 0
			continue
		}
		at := timeOf(r, now)
		if r.Standing == message.Ended || r.Standing == message.Forgotten {
			m.recordEnd(p, r.Seq, tenureIn(r.Tenure, now), at)
			m.recordServed(p, compiled[r.Sites])
			if m.markDead(p); r.Standing == message.Forgotten {
				m.markForgotten(p)
			}
			continue
		}
		m.addLost(&lostPod{
			Peer: p, seq: r.Seq, tenure: tenureIn(r.Tenure, now), heard: at, since: now, sum: r.Sites, served: compiled[r.Sites],
		})
	}
	if len(st.Runs) > 0 && !goodbye && since.Before(m.tenure.since) {
		m.tenure.since = since
	}
	m.sums()
}

// Remember saves what this pod knows of others, after changes and from time to time, until stop is
// closed. Without a memory it returns at once.
func (m *Members) Remember(stop <-chan struct{}) {
	if m.memory == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-timer.C:
		case <-m.saveSoon:
			select { // collect what changes at the same time
			case <-stop:
				running = false
			case <-time.After(saveDelay):
			}
		}
		wait := saveEvery
		if err := m.save(running); err != nil {
			wait = time.Second
			if _, ok := m.unsaved.Allow(link.LogEvery); ok {
				m.logger.Error("cannot save which pods this one knows: after a restart, its answers can lack those that it misses",
					zap.Error(err))
			}
		}
		timer.Reset(wait)
	}
}

// save saves the state. While the pod is running, the reading of the clock is one in the future.
func (m *Members) save(running bool) error {
	now := time.Now()
	m.mu.Lock()
	st := memory.State{Started: m.started, Clock: m.clock.read(now), Sites: m.newSites}
	own := m.describeSelf(now)
	if !running {
		own = describe(m.self, ^uint64(0), 0, 0, message.Ended)
	}
	st.Runs = append(st.Runs, own) // the first one, so that it is kept if there are too many
	m.newSites = nil
	add := func(r message.Run, t tenure) {
		r.Tenure = t.saved(now)
		st.Runs = append(st.Runs, r)
	}
	for _, l := range m.lost {
		add(l.describe(now), l.tenure)
	}
	for _, pod := range m.pods {
		add(pod.describe(now), pod.tenure)
	}
	unproved := make(map[link.Peer]bool)
	for _, r := range m.heardAgainUnproved(now) {
		p := peerOf(&r)
		unproved[p] = true
		add(r, m.ended[p].tenure)
	}
	for p, end := range m.ended {
		if end.dead && !unproved[p] && len(st.Runs) < maxPods {
			run, _ := m.endOf(p)
			if end.crashed() {
				run.Sites = end.sum()
			}
			run.Age = ageOf(now.Sub(end.at))
			add(run, end.tenure)
		}
	}
	m.mu.Unlock()
	if running {
		st.Clock = min(st.Clock+uint64(clockReserve.Milliseconds()), maxReading)
	}
	err := m.memory.Save(st)
	if err != nil {
		m.mu.Lock()
		for sum, list := range st.Sites {
			if m.servedBySum(sum) != nil {
				m.noteSites(sum, list)
			}
		}
		m.mu.Unlock()
	}
	return err
}

// noteSites records sites for the next save.
func (m *Members) noteSites(sum uint64, list []message.Site) {
	if m.memory == nil {
		return
	}
	if m.newSites == nil {
		m.newSites = make(map[uint64][]message.Site)
	}
	m.newSites[sum] = list
}
