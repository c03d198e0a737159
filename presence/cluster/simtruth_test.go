package cluster

import (
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// simTruth records the users of each channel, over all pods, now and before. Frames and answers are
// compared with it.
type simTruth struct {
	sim *sim

	mu      sync.Mutex
	kills   []time.Time // times at which pods were killed
	seats   map[simSeat]*simStay
	changed map[presence.HostName]time.Time // time of the last change
}

type simSeat struct {
	host          presence.HostName
	channel, user string
}

// simStay is a user in a channel.
type simStay struct {
	conns  int
	came   time.Time // time of the last new connection
	left   time.Time // time at which a connection last left on purpose
	lost   time.Time // time at which a connection was last lost
	absent []simSpan // periods without a connection
}

type simSpan struct{ from, to time.Time } // to is zero during the period

// slack is how much later one pod can know something than another, without faults.
const slack = 100 * time.Millisecond

func newSimTruth(s *sim) *simTruth {
	return &simTruth{sim: s, seats: make(map[simSeat]*simStay), changed: make(map[presence.HostName]time.Time)}
}

func (tr *simTruth) arrive(c *simClient, channel string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	tr.changed[c.host] = now
	if c.user == "" {
		return
	}
	seat := simSeat{c.host, channel, c.user}
	stay := tr.seats[seat]
	if stay == nil {
		stay = &simStay{}
		tr.seats[seat] = stay
	}
	stay.came = now
	if stay.conns++; stay.conns == 1 && len(stay.absent) > 0 {
		stay.absent[len(stay.absent)-1].to = now
	}
}

func (tr *simTruth) depart(c *simClient, channel string, lost bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	tr.changed[c.host] = now
	if c.user == "" {
		return
	}
	stay := tr.seats[simSeat{c.host, channel, c.user}]
	if lost {
		stay.lost = now
	} else {
		stay.left = now
	}
	if stay.conns--; stay.conns == 0 {
		stay.absent = append(stay.absent, simSpan{from: now})
	}
}

// touch records that connections of a host changed.
func (tr *simTruth) touch(host presence.HostName) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.changed[host] = time.Now()
}

// disturb records an event that changes answers about all hosts.
func (tr *simTruth) disturb() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, h := range tr.sim.hosts {
		tr.changed[h] = time.Now()
	}
}

// kill records that a pod is killed.
func (tr *simTruth) kill() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.kills = append(tr.kills, time.Now())
}

func (tr *simTruth) lastChange(host presence.HostName) time.Time {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.changed[host]
}

// lastLoss returns the time at which a connection of the user in the channel was last lost. A
// connection that left right before its pod was killed counts as lost, because its change was not
// sent.
func (tr *simTruth) lastLoss(host presence.HostName, channel, user string) time.Time {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if stay := tr.seats[simSeat{host, channel, user}]; stay != nil {
		last := stay.lost
		for _, killed := range tr.kills {
			if last.Before(killed) && !stay.left.After(killed) && killed.Sub(stay.left) < slack {
				last = killed
			}
		}
		return last
	}
	return time.Time{}
}

// left checks that a user had left or been away for the grace period when a watcher saw that it is
// gone. It applies while pods hear each other.
func (tr *simTruth) left(c *simClient, channel, user string) {
	if !tr.sim.plan.quietNet() {
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now := time.Now()
	since := now.Add(-tr.sim.bound())
	stay := tr.seats[simSeat{c.host, channel, user}]
	if stay == nil {
		c.fail("%s: %s left and was never there", channel, user)
		return
	}
	if stay.left.After(since) || now.Sub(stay.came) < slack {
		return
	}
	for _, a := range stay.absent {
		to := a.to
		if to.IsZero() {
			to = now
		}
		if to.After(since) && to.Sub(a.from) >= tr.sim.plan.grace-slack {
			return
		}
	}
	c.fail("%s: %s left, and was never away for the grace: %+v at %v", channel, user, stay, now)
}

// members returns the users of a channel on the given pods, and the number of listeners.
func (s *sim) members(runs map[*simRun]bool, host presence.HostName, channel string) (users map[string]bool, conns int) {
	users = make(map[string]bool)
	for _, c := range s.clients {
		if _, ok := c.joins[channel]; !ok || c.run == nil || !runs[c.run] || c.host != host {
			continue
		}
		conns++
		if c.user != "" {
			users[c.user] = true
		}
	}
	return users, conns
}

// following checks that no watcher misses a user, or sees one who is gone, except for lost users
// until their loss is known and the grace period has ended.
func (s *sim) following() {
	runs := make(map[*simRun]bool)
	for _, p := range s.pods {
		if p.run == nil {
			continue
		}
		runs[p.run] = true
		for _, other := range s.pods {
			if other.run != nil && other != p && !s.linked(p.run, other.run) {
				return
			}
		}
	}
	now := time.Now()
	for _, c := range s.clients {
		if c.run == nil || now.Sub(s.truth.lastChange(c.host)) < s.lag() {
			continue
		}
		// An answer to a check does not say who left on purpose, so the grace period starts.
		late := s.plan.quietNet() || now.Sub(s.truth.lastChange(c.host)) >= s.lag()+s.plan.grace
		late = late && s.plan.replay == 0 // a repeated change lasts until the next check
		c.mu.Lock()
		for channel, v := range c.views {
			if c.open[channel] > 0 || now.Sub(v.since) < s.lag() {
				continue // a new watcher first sees what was known before
			}
			users, _ := s.members(runs, c.host, channel)
			for u := range users {
				if v.named && !v.members[u] {
					c.fail("%s: %s is missing", channel, u)
				}
			}
			for u := range v.members {
				if late && !users[u] && s.truth.lastLoss(c.host, channel, u).Before(now.Add(-s.bound())) {
					c.fail("%s: %s is a ghost", channel, u)
				}
			}
		}
		c.mu.Unlock()
	}
}

// snapshot checks that no user is missing in the answer to a join, if pods hear each other and only
// the join has changed anything for a while.
func (s *sim) snapshot(c *simClient, channel string, began time.Time) {
	if !s.plan.quietNet() || began.Sub(s.truth.lastChange(c.host)) < 2*slack || began.Sub(c.run.began) < found {
		return
	}
	s.in(2*slack, func() {
		if c.run == nil || s.truth.lastChange(c.host).After(began) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		// The answer may wait for a pod that was killed.
		if v := c.views[channel]; v != nil && c.open[channel] == 0 && v.more {
			c.fail("%s: the answer to the join did not have everybody", channel)
		}
	})
}

// settled checks that each watcher sees exactly the present members.
func (s *sim) settled() {
	runs := make(map[*simRun]bool)
	for _, p := range s.pods {
		if p.run != nil {
			runs[p.run] = true
		}
	}
	for _, c := range s.clients {
		if c.run == nil {
			continue
		}
		for channel, watch := range c.joins {
			if watch != presence.WatchNone {
				s.settledView(c, channel, runs)
			}
		}
	}
	s.settledKnown()
	if (s.plan.faults == simFaults{}) {
		s.settledDetails()
	}
}

// settledDetails checks that all pods know the same info and status of a user, whether or not they
// share a channel.
func (s *sim) settledDetails() {
	for _, host := range s.hosts {
		known := make(map[string]presence.User)
		for _, p := range s.pods {
			if p.run == nil {
				continue
			}
			list, _ := p.run.reg.Pods().Members(host, presence.PerUser|presence.WithInfo)
			for i := range list {
				u := list[i].User
				if before, ok := known[u.ID]; ok && (before.Info != u.Info || before.Status != u.Status) {
					s.fail("in the end, %v knows %+v of %v, and another pod %+v", p.run, u, host, before)
				}
				known[u.ID] = u
			}
		}
	}
}

// settledKnown checks that all watchers of a channel see the same info and status of each member.
func (s *sim) settledKnown() {
	seen := make(map[simSeat]string)
	for _, c := range s.clients {
		if c.run == nil {
			continue
		}
		c.mu.Lock()
		for channel, v := range c.views {
			for u := range v.members {
				seat := simSeat{c.host, channel, u}
				if known, ok := seen[seat]; ok && known != v.known[u] {
					c.fail("%s: in the end, %s has %q and elsewhere %q", channel, u, v.known[u], known)
				}
				seen[seat] = v.known[u]
			}
		}
		c.mu.Unlock()
	}
}

func (s *sim) settledView(c *simClient, channel string, runs map[*simRun]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	users, conns := s.members(runs, c.host, channel)
	want := len(users)
	class := simClass(channel)
	if class.Kind == presence.Anonymous {
		want = conns
	}
	v := c.views[channel]
	if v == nil || c.open[channel] != 0 {
		c.fail("%s: %d joins are not answered", channel, c.open[channel])
		return
	}
	if v.count != want {
		c.fail("%s: in the end counts %d and not %d; members %v, there are %v", channel, v.count, want, sortedKeys(v.members), sortedKeys(users))
	}
	for u := range users {
		if v.named && !v.members[u] {
			c.fail("%s: %s is missing in the end", channel, u)
		}
	}
	for u := range v.members {
		if !users[u] {
			c.fail("%s: %s is a ghost in the end", channel, u)
		}
	}
}
