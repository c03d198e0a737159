package cluster

import (
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// step does one random thing.
func (s *sim) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan.faults.lost == 0 {
		s.following()
	}
	switch n := s.rand.IntN(100); {
	case n < 65:
		s.clientStep()
	case n < 80:
		s.question()
	default:
		s.faultStep()
	}
}

// question sends a query to a random pod.
func (s *sim) question() {
	if r := s.anyRun(); r != nil {
		s.ask(r, s.hosts[s.rand.IntN(len(s.hosts))], s.rand.IntN(6))
	}
}

// anyRun returns a random pod that runs and is not paused, or nil.
func (s *sim) anyRun() *simRun {
	var runs []*simRun
	for _, p := range s.pods {
		if p.run != nil && !p.run.paused {
			runs = append(runs, p.run)
		}
	}
	if len(runs) == 0 {
		return nil
	}
	return runs[s.rand.IntN(len(runs))]
}

// clientStep makes a client do something.
func (s *sim) clientStep() {
	if len(s.clients) < 8 || len(s.clients) < 16 && s.rand.IntN(6) == 0 {
		c := &simClient{sim: s, id: len(s.clients), host: s.hosts[min(1, s.rand.IntN(4)/3)], user: s.anyUser(), out: &simOutbox{}}
		s.clients = append(s.clients, c)
		s.connect(c, nil)
		return
	}
	c := s.clients[s.rand.IntN(len(s.clients))]
	channel := simChannels[max(0, s.rand.IntN(2*len(simChannels))-len(simChannels))] // usually the first one
	switch {
	case c.run == nil || c.run.paused: // it will be back, or is not reachable
	case s.rand.IntN(12) == 0:
		joins := c.joins
		s.disconnect(c)
		s.comeBack(c, joins)
	case s.rand.IntN(8) == 0:
		s.logIn(c)
	case s.rand.IntN(4) == 0:
		s.flutter(c, channel)
	case s.rand.IntN(2) == 0:
		s.leave(c, channel)
	default:
		s.join(c, channel, presence.WatchList-presence.Watch(max(0, s.rand.IntN(5)-2)))
	}
}

// flutter makes a client join and leave a channel several times, so that several changes are in
// transit.
func (s *sim) flutter(c *simClient, channel string) {
	r := c.run
	for i := range 2 + s.rand.IntN(4) {
		s.in(time.Duration(i)*(timing.Default().Coalesce+time.Duration(s.rand.IntN(1e7))), func() {
			if c.run != r || r.paused {
				return
			}
			if _, ok := c.joins[channel]; ok {
				s.leave(c, channel)
			} else {
				s.join(c, channel, presence.WatchNone)
			}
		})
	}
}

// anyUser returns one of a few users, so that most have several connections, or "".
func (s *sim) anyUser() string {
	return []string{"", "ann", "bob", "cid", "dan", "eve"}[s.rand.IntN(6)]
}

// connect connects a client to a random pod, and joins channels. It does nothing if no pod is
// available.
func (s *sim) connect(c *simClient, joins map[string]presence.Watch) {
	r := s.anyRun()
	if r != nil && c.run == nil && r.Serves(c.host) {
		s.connectTo(c, r, joins)
	}
}

// connectTo connects a client to a pod, and joins channels.
func (s *sim) connectTo(c *simClient, r *simRun, joins map[string]presence.Watch) {
	var user *presence.User
	if c.user != "" {
		user = &presence.User{ID: c.user, Info: s.nextObject()}
	}
	s.trace("client %d connects to %v on %v as %q", c.id, c.host, r, c.user)
	out := &simOutbox{client: c}
	conn, err := r.reg.Connect(c.host, r.rules, user, out)
	if err != nil {
		s.fail("connect: %v", err)
		return
	}
	c.mu.Lock()
	c.run, c.conn, c.out = r, conn, out
	c.views, c.open = make(map[string]*simView), make(map[string]int)
	c.mu.Unlock()
	c.joins = make(map[string]presence.Watch)
	s.facts.connected(c)
	s.truth.touch(c.host)
	for _, channel := range simChannels {
		if watch, ok := joins[channel]; ok {
			s.join(c, channel, watch)
		}
	}
}

func (s *sim) join(c *simClient, channel string, watch presence.Watch) {
	if c.user == "" && simClass(channel).Kind == presence.Authenticated {
		return
	}
	if s.events != nil {
		watch = presence.WatchNone // classes change: what watchers see is not judged
	}
	s.trace("client %d joins %s, watch %d", c.id, channel, watch)
	if watch != presence.WatchNone {
		s.snapshot(c, channel, time.Now())
	}
	if _, ok := c.joins[channel]; !ok {
		s.truth.arrive(c, channel)
		s.facts.joined(c, channel)
	}
	c.joins[channel] = watch
	if c.user != "" {
		if err := c.conn.SetStatus(s.nextObject()); err != nil {
			s.fail("set a status: %v", err)
		}
	}
	c.mu.Lock()
	c.open[channel]++
	c.mu.Unlock()
	if err := c.conn.Join(channel, watch, ""); err != nil {
		s.fail("join: %v", err)
	}
}

func (s *sim) leave(c *simClient, channel string) {
	if _, ok := c.joins[channel]; !ok {
		return
	}
	s.trace("client %d leaves %s", c.id, channel)
	s.truth.depart(c, channel, false)
	s.facts.left(c, channel)
	delete(c.joins, channel)
	if err := c.conn.Leave(channel, ""); err != nil {
		s.fail("leave: %v", err)
	}
}

// nextObject returns an info or a status that no other user has; "" now and then.
func (s *sim) nextObject() string {
	s.objects++
	if s.objects%3 == 0 {
		return ""
	}
	return fmt.Sprintf(`{"n":%d}`, s.objects)
}

// logIn logs the client in as another user.
func (s *sim) logIn(c *simClient) {
	user := s.anyUser()
	if user == "" || user == c.user {
		return
	}
	s.trace("client %d logs in as %s", c.id, user)
	for channel := range c.joins {
		s.truth.depart(c, channel, false)
	}
	s.facts.disconnected(c)
	c.user = user
	s.facts.connected(c)
	for channel := range c.joins {
		s.truth.arrive(c, channel)
		s.facts.joined(c, channel)
	}
	s.truth.touch(c.host)
	if err := c.conn.Authenticate(presence.User{ID: user, Info: s.nextObject()}, nil); err != nil {
		s.fail("authenticate: %v", err)
	}
}

// disconnect closes the connection of a client, as lost.
func (s *sim) disconnect(c *simClient) {
	s.trace("client %d is lost", c.id)
	conn := c.conn
	s.forget(c)
	conn.Close()
}

// forget records in the truth that a client's connection is lost.
func (s *sim) forget(c *simClient) {
	for channel := range c.joins {
		s.truth.depart(c, channel, true)
	}
	s.facts.disconnected(c)
	s.truth.touch(c.host)
	c.joins = nil
	c.mu.Lock()
	c.out.ended = true
	c.run, c.conn = nil, nil
	c.mu.Unlock()
}

// comeBack connects a client again after a while, usually within the grace period.
func (s *sim) comeBack(c *simClient, joins map[string]presence.Watch) {
	wait := time.Duration(s.rand.Float64() * float64(s.plan.grace))
	if s.rand.IntN(4) == 0 {
		wait = time.Duration(s.rand.Float64() * float64(10*time.Second))
	}
	var again func()
	again = func() {
		if s.connect(c, joins); c.run == nil && s.healed.IsZero() {
			s.in(50*time.Millisecond, again) // the chosen pod is not available
		}
	}
	s.in(wait, again)
}
