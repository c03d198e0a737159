package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// simEventsFailed is simFailed for TestEventsAreRightAtRest.
var simEventsFailed = []int{79, 1189, 1411, 1623, 2087, 2979, 3197, 4380, 5219, 6927, 8343, 22061}

// TestEventsAreRightAtRest runs a deployment with the faults of TestSimulation whose pods tell
// events to a receiver. Each pod has a queue, which survives its death, delivers late and repeats
// itself, and now and then throws away what waits. The receiver is down for a while. Whenever all
// is at rest, the receiver knows exactly who is there. A seed takes as long as several of
// TestSimulation, so it tries a part of them: all of a range that does not begin with 0.
func TestEventsAreRightAtRest(t *testing.T) {
	t.Parallel()
	from, to := simSeeds(t)
	if from == 0 {
		to = max(1, to/10)
	}
	var told, repeated, dropped, back atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d events were received, %d of them again and %d of lower epochs; in %d of %d simulations, all pods came back",
			told.Load(), repeated.Load(), dropped.Load(), back.Load(), to-from)
		if told.Load() < int64(20*(to-from)) {
			t.Error("that is too little to show anything")
		}
	})
	for _, seed := range simSeedsWith(simEventsFailed, from, to) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := simulateEvents(t, uint64(seed))
				told.Add(int64(e.told))
				repeated.Add(int64(e.repeated))
				dropped.Add(int64(e.dropped))
				if e.back {
					back.Add(1)
				}
			})
		})
	}
}

// simEvents is what a simulation has for events.
type simEvents struct {
	sim   *sim
	users bool // the users who are online are wanted
	done  chan struct{}

	mu       sync.Mutex
	draw     simDraw
	hall     presence.Class // class of one channel, which changes
	sum      uint64         // sum of the configuration
	queues   map[*simPod]*simEventQueue
	receiver map[simLane]*simReceiver
	down     bool               // the receiver
	full     bool               // queues may be full
	top      uint64             // greatest epoch of all events
	tops     map[simLane]uint64 // the same of each lane

	told, repeated, dropped int
	back                    bool // see bringBack
}

type simLane struct {
	host  presence.HostName
	shard uint8
}

// simEventQueue is the disk of a pod: its queue, and its book.
type simEventQueue struct {
	lanes map[simLane][]events.Event
	tried map[simLane]int // events at the head that were delivered, and the confirmation was lost
	book  keeperDisk
	older map[[3]string]assignment.Record // an older copy of the book
}

// simSpeaker is the speaker of one run of a pod. It implements events.Sink and assignment.Store.
type simSpeaker struct {
	*events.Speaker
	all   *simEvents
	run   *simRun
	queue *simEventQueue
	book  *assignment.Book
	told  atomic.Bool // the configuration has events
	rules atomic.Pointer[presence.Rules]
}

func newSimEvents(s *sim) *simEvents {
	e := &simEvents{
		sim: s, users: s.rand.IntN(2) == 0, done: make(chan struct{}), draw: simDraw{s.seed}, full: true,
		hall: presence.Class{Kind: presence.Authenticated}, queues: make(map[*simPod]*simEventQueue), receiver: make(map[simLane]*simReceiver),
		tops: make(map[simLane]uint64),
	}
	return e
}

// attach gives a run of a pod a speaker.
func (e *simEvents) attach(r *simRun, cfg *Config) {
	e.mu.Lock()
	q := e.queues[r.simPod]
	if q == nil {
		q = &simEventQueue{lanes: make(map[simLane][]events.Event), tried: make(map[simLane]int), book: keeperDisk{records: make(map[[3]string]assignment.Record)}}
		e.queues[r.simPod] = q
		go e.deliver(r.simPod, q)
	}
	e.mu.Unlock()
	sp := &simSpeaker{all: e, run: r, queue: q}
	sp.told.Store(e.sim.rand.IntN(6) > 0)
	sp.setRules()
	book := assignment.NewBook(e.sim.rand.Uint64(), nil)
	sp.Speaker = events.New(events.Config{Registry: r.reg, Sink: sp, Epochs: simBook{book, r.port}, Wanted: sp.wanted, Named: sp.named, Logger: e.sim.logger(r.name)})
	book.OnEpoch(sp.OnEpoch)
	if err := book.Attach(sp); err != nil {
		e.sim.t.Fatal(err)
	}
	r.events, r.rules = sp, sp
	sp.book, cfg.Assignments, cfg.Events = book, book, sp.Speaker
}

// simBook is a book whose process can be stopped.
type simBook struct {
	*assignment.Book
	port *simPort
}

// SetEpoch implements events.Epochs.
func (b simBook) SetEpoch(host presence.HostName, shard uint8, epoch uint64) ([]assignment.Record, error) {
	b.port.running()
	return b.Book.SetEpoch(host, shard, epoch)
}

// Load implements assignment.Store.
func (sp *simSpeaker) Load(take func(assignment.Record)) error {
	return sp.queue.book.load(take)
}

// Save implements assignment.Store.
func (sp *simSpeaker) Save(records []assignment.Record) error {
	if sp.run.port.isDead() {
		return errSimDead
	}
	return sp.queue.book.save(records)
}

// Delete implements assignment.Store.
func (sp *simSpeaker) Delete([]assignment.Record) error { return nil }

func (sp *simSpeaker) on() bool { return sp != nil && sp.told.Load() }

func (sp *simSpeaker) refresh() {
	if sp != nil {
		sp.Refresh()
	}
}

func (sp *simSpeaker) close() {
	if sp != nil {
		sp.Close()
	}
}

func (sp *simSpeaker) wanted(host presence.HostName) events.Wanted {
	sp.all.mu.Lock()
	defer sp.all.mu.Unlock()
	return events.Wanted{On: sp.on() && sp.run.Serves(host), Users: sp.all.users, Sum: sp.all.sum, Grace: sp.all.sim.plan.grace}
}

func (sp *simSpeaker) named(visit func(presence.HostName)) {
	for _, h := range sp.all.sim.hosts {
		visit(h)
	}
}

// Rules implements presence.RulesSource.
func (sp *simSpeaker) Rules() *presence.Rules { return sp.rules.Load() }

// Classify implements presence.Classifier.
func (e simHall) Classify(_ presence.HostName, channel string) (presence.Class, error) {
	if channel == simChannels[0] {
		return e.class, nil
	}
	return simClass(channel), nil
}

type simHall struct{ class presence.Class }

func (sp *simSpeaker) setRules() {
	sp.all.mu.Lock()
	defer sp.all.mu.Unlock()
	sp.rules.Store(&presence.Rules{Classifier: simHall{sp.all.hall}, Grace: sp.all.sim.plan.grace})
}

// reload applies the present configuration on a pod.
func (sp *simSpeaker) reload() {
	sp.setRules()
	for _, h := range sp.run.reg.Hosts() {
		h.Reclassify()
	}
	sp.Refresh()
}

// Name implements events.Sink.
func (sp *simSpeaker) Name(_ presence.HostName, users []presence.User) []string {
	sp.run.port.running()
	time.Sleep(sp.all.upTo(20 * time.Millisecond))
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.ID + " " + u.Info
	}
	return names
}

// Put implements events.Sink.
func (sp *simSpeaker) Put(list []events.Event) (full bool) {
	sp.run.port.running()
	e := sp.all
	lane := simLane{list[0].Host, list[0].Shard}
	if sp.run.port.isDead() {
		return false
	}
	pause := e.upTo(5 * time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range list {
		e.top, e.tops[lane] = max(e.top, ev.Epoch), max(e.tops[lane], ev.Epoch)
	}
	e.sim.trace("%v puts %s", sp.run, eventText(list))
	if e.full && e.draw.float() < 0.01 {
		e.sim.trace("the queue of %v is full", sp.run)
		sp.queue.lanes[lane] = sp.queue.lanes[lane][:sp.queue.tried[lane]]
		time.AfterFunc(pause, func() { sp.Restart(lane.host, lane.shard) })
		return true
	}
	sp.queue.lanes[lane] = append(sp.queue.lanes[lane], list...)
	return false
}

func eventText(list []events.Event) string {
	var b strings.Builder
	for _, ev := range list {
		fmt.Fprintf(&b, "%v/%d/%d %v %q %q %d; ", ev.Host, ev.Shard, ev.Epoch, ev.Type, ev.Channel, ev.Records, ev.Count)
	}
	return b.String()
}

// upTo returns a random duration.
func (e *simEvents) upTo(d time.Duration) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Duration(e.draw.float() * float64(d))
}

// deliver delivers the events of a pod while it runs.
func (e *simEvents) deliver(p *simPod, q *simEventQueue) {
	for {
		select {
		case <-e.done:
			return
		case <-time.After(e.upTo(60 * time.Millisecond)):
		}
		e.sim.mu.Lock()
		runs := p.run != nil && !p.run.paused
		e.sim.mu.Unlock()
		if runs {
			e.deliverSome(q)
		}
	}
}

func (e *simEvents) deliverSome(q *simEventQueue) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lanes []simLane
	for _, host := range e.sim.hosts { // in the same order each time
		for shard := range uint8(events.Shards) {
			if lane := (simLane{host, shard}); len(q.lanes[lane]) > 0 {
				lanes = append(lanes, lane)
			}
		}
	}
	if len(lanes) == 0 || e.down {
		return
	}
	lane := lanes[int(e.draw.float()*float64(len(lanes)))]
	n := q.tried[lane] // a request is repeated as it was
	if n == 0 {
		n = 1 + int(e.draw.float()*float64(min(100, len(q.lanes[lane]))))
	} else {
		e.repeated += n
	}
	for _, ev := range q.lanes[lane][:n] {
		e.receive(ev, q.tried[lane] > 0)
	}
	if q.tried[lane] = n; e.draw.float() < 0.85 {
		q.lanes[lane], q.tried[lane] = q.lanes[lane][n:], 0
	}
}

// waiting returns the number of events in the queues of the pods that run.
func (e *simEvents) waiting() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p, q := range e.queues {
		for _, list := range q.lanes {
			if p.run != nil {
				n += len(list)
			}
		}
	}
	return n
}

// simReceiver is what a receiver knows of a shard: what the design of events says, and no more.
type simReceiver struct {
	epoch    uint64
	complete uint64 // last epoch that was complete
	channels map[string]*simReceived
	online   map[string]simNamed
}

type simReceived struct {
	epoch   uint64 // of the last event that named it
	count   int
	members map[string]simNamed
}

type simNamed struct {
	epoch  uint64
	record string
}

func (e *simEvents) receive(ev events.Event, again bool) {
	e.told++
	lane := simLane{ev.Host, ev.Shard}
	r := e.receiver[lane]
	if r == nil {
		r = &simReceiver{channels: make(map[string]*simReceived), online: make(map[string]simNamed)}
		e.receiver[lane] = r
	}
	if ev.Epoch < r.epoch {
		e.dropped++
		return
	}
	r.epoch = ev.Epoch
	ch := r.channels[ev.Channel]
	if ch == nil && ev.Channel != "" && ev.Type != events.ChannelVacated {
		ch = &simReceived{members: make(map[string]simNamed)}
		r.channels[ev.Channel] = ch
	}
	if ch != nil {
		ch.epoch, ch.count = ev.Epoch, ev.Count
	}
	for _, record := range ev.Records {
		id, _, _ := strings.Cut(record, " ")
		named := simNamed{ev.Epoch, record}
		switch ev.Type { //nolint:exhaustive // others name nobody
		case events.MemberJoined, events.ChannelState:
			ch.members[id] = named
		case events.MemberLeft:
			if was, ok := ch.members[id]; !again && ok && was.epoch == ev.Epoch && was != named {
				e.sim.fail("%v: %q left, who had joined as %q", ev.Channel, record, was.record)
			}
			delete(ch.members, id)
		case events.UserOnline:
			r.online[id] = named
		case events.UserOffline:
			delete(r.online, id)
		}
	}
	switch ev.Type { //nolint:exhaustive // others remove nothing
	case events.ChannelVacated:
		delete(r.channels, ev.Channel)
	case events.EpochComplete:
		r.complete = ev.Epoch
		older := func(_ string, n simNamed) bool { return n.epoch < ev.Epoch }
		maps.DeleteFunc(r.online, older)
		maps.DeleteFunc(r.channels, func(_ string, ch *simReceived) bool { return ch.epoch < ev.Epoch })
		for _, ch := range r.channels {
			maps.DeleteFunc(ch.members, older)
		}
	}
}

// compare compares the receiver with who is there.
func (e *simEvents) compare() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, host := range e.sim.hosts {
		spoken := slices.ContainsFunc(e.sim.pods, func(p *simPod) bool {
			return p.run != nil && p.run.events.on() && p.run.Serves(host)
		})
		if !spoken {
			continue // nobody tells
		}
		want, online := e.present(host)
		got := make(map[string]string)
		var on []string
		for shard := range uint8(events.Shards) {
			r := e.receiver[simLane{host, shard}]
			if r == nil {
				if len(want)+len(online) > 0 {
					e.sim.fail("%v: nothing was told of shard %d", host, shard)
				}
				continue
			}
			if r.complete != r.epoch {
				e.sim.fail("%v: epoch %d of shard %d is not complete", host, r.epoch, shard)
			}
			for name, ch := range r.channels {
				got[name] = strings.Join(slices.Sorted(maps.Keys(ch.members)), " ")
				if len(ch.members) > 0 && ch.count != len(ch.members) {
					e.sim.fail("%v: %s has the count %d and the members %s", host, name, ch.count, got[name])
				}
			}
			on = append(on, slices.Collect(maps.Keys(r.online))...)
		}
		slices.Sort(on)
		if !maps.Equal(got, want) || !slices.Equal(on, online) {
			e.sim.fail("%v: the receiver has\n%v, online %v; there are\n%v, online %v", host, got, on, want, online)
		}
	}
}

// present returns the members of each channel of a host, and the users who are online.
func (e *simEvents) present(host presence.HostName) (channels map[string]string, online []string) {
	channels = make(map[string]string)
	members := make(map[string]map[string]bool)
	users := make(map[string]bool)
	for _, c := range e.sim.clients {
		if c.run == nil || c.host != host {
			continue
		}
		if c.user != "" {
			users[c.user] = true
		}
		for channel := range c.joins {
			class, _ := simHall{e.hall}.Classify(host, channel)
			if class.Hidden {
				continue
			}
			if members[channel] == nil {
				members[channel] = make(map[string]bool)
			}
			if class.Kind == presence.Authenticated && !class.CountOnly {
				members[channel][c.user] = true
			}
		}
	}
	for channel, ids := range members {
		channels[channel] = strings.Join(slices.Sorted(maps.Keys(ids)), " ")
	}
	if e.users {
		online = slices.Sorted(maps.Keys(users))
	}
	return channels, online
}

// step makes something happen that concerns events.
func (e *simEvents) step() {
	s := e.sim
	r := s.anyRun()
	if r == nil {
		return
	}
	switch s.rand.IntN(8) {
	case 0, 1:
		e.mu.Lock()
		e.hall = []presence.Class{
			{Kind: presence.Authenticated},
			{Kind: presence.Anonymous},
			{Kind: presence.Authenticated, Hidden: true},
			{Kind: presence.Authenticated, CountOnly: true},
		}[s.rand.IntN(4)]
		class := e.hall
		e.mu.Unlock()
		s.trace("the hall is %+v", class)
		for _, p := range s.pods { // one after the other
			s.in(time.Duration(s.rand.IntN(3000))*time.Millisecond, func() { e.reload(p.run) })
		}
	case 2:
		r.events.told.Store(!r.events.told.Load())
		s.trace("%v has events: %v", r, r.events.on())
		r.setHosts(e.hosts(r))
	case 3:
		e.mu.Lock()
		e.sum++
		e.mu.Unlock()
		s.trace("the configuration has changed")
		e.reload(r)
	case 4, 5:
		e.setDown(true)
		s.in(time.Duration(s.rand.IntN(20))*time.Second, func() { e.setDown(false) })
	case 6:
		e.mu.Lock()
		q := e.queues[r.simPod]
		e.mu.Unlock()
		q.book.mu.Lock()
		q.older = maps.Clone(q.book.records)
		q.book.mu.Unlock()
	case 7:
		e.restore(r.simPod)
	}
}

func (e *simEvents) reload(r *simRun) {
	if r != nil && !r.paused {
		r.events.reload()
	}
}

func (e *simEvents) hosts(r *simRun) (hosts []presence.HostName) {
	for _, h := range e.sim.hosts {
		if r.Serves(h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// restore kills a pod, which starts again with an older disk some time after that. By then, its
// clock is past all epochs, as clocks are: what the disk does not have, and no other pod knows,
// would be used again.
func (e *simEvents) restore(p *simPod) {
	s := e.sim
	if p.run == nil || p.run.paused || !s.plan.deaths {
		return
	}
	s.endPod(p, true)
	e.mu.Lock()
	q := e.queues[p]
	e.mu.Unlock()
	if q.older != nil {
		s.trace("%s has an older disk", p.name)
		q.book.mu.Lock()
		q.book.records = q.older
		q.book.mu.Unlock()
		q.older = nil
		e.passClock(p)
	}
	s.in(time.Duration(s.rand.IntN(5000))*time.Millisecond, func() {
		if p.run == nil {
			s.startPod(p)
		}
	})
}

// loseDisk makes the disk of a pod lose the epochs.
func (e *simEvents) loseDisk(p *simPod) {
	if e == nil {
		return
	}
	e.mu.Lock()
	q := e.queues[p]
	e.mu.Unlock()
	if q != nil {
		q.book.mu.Lock()
		clear(q.book.records)
		q.book.mu.Unlock()
		e.passClock(p)
	}
}

// bringBack starts the pods that do not run if no pod that runs knows the greatest epoch of a shard
// that was told: its own epochs can be lower.
func (e *simEvents) bringBack() {
	e.mu.Lock()
	tops := maps.Clone(e.tops)
	e.mu.Unlock()
	for _, p := range e.sim.pods {
		if p.run == nil {
			continue
		}
		for lane, top := range tops {
			if p.run.events.book.Epochs(lane.host)[lane.shard] >= top {
				delete(tops, lane)
			}
		}
	}
	if len(tops) == 0 {
		return
	}
	for _, p := range e.sim.pods {
		if p.run == nil {
			e.back = true
			e.sim.startPod(p)
		}
	}
}

// passClock sets the clock of a pod past all epochs.
func (e *simEvents) passClock(p *simPod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if past := time.UnixMilli(int64(e.top) + 10_000).Sub(p.clock.now()); past > 0 {
		p.clock.jump(past)
	}
}

func (e *simEvents) setDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sim.trace("the receiver is down: %v", down)
	e.down = down
}

func simulateEvents(t *testing.T, seed uint64) *simEvents {
	s := newSim(t, seed)
	defer s.net.close()
	s.makePlan()
	s.rules = &presence.Rules{Classifier: simClassifier{}, Grace: s.plan.grace}
	e := newSimEvents(s)
	s.events = e
	defer close(e.done)
	for i := range s.plan.pods {
		p := s.addPod(i % s.plan.dcs)
		p.clock.jump(s.anyJump())
		s.startPod(p)
	}
	time.Sleep(time.Duration(s.rand.IntN(5)) * time.Second)
	s.storm(s.plan.faults)
	s.net.setReplay(s.plan.replay)
	for end := time.Now().Add(s.plan.time); time.Now().Before(end) && !s.hasFailed(); {
		s.pass(s.gap())
		s.mu.Lock()
		switch n := s.rand.IntN(100); {
		case n < 70:
			s.clientStep()
		case n < 80:
			e.step()
		default:
			s.faultStep()
		}
		s.mu.Unlock()
	}
	s.heal()
	s.net.setReplay(0)
	e.setDown(false)
	s.mu.Lock()
	e.bringBack()
	s.mu.Unlock()
	e.mu.Lock()
	e.full = false
	e.mu.Unlock()
	s.mu.Lock()
	for _, p := range s.pods {
		e.reload(p.run)
	}
	s.mu.Unlock()
	s.pass(s.bound() + 90*time.Second)
	for i := 0; i < 60 && e.waiting() > 0; i++ {
		s.pass(time.Second)
	}
	s.check(func(*sim) { e.compare() })
	s.end()
	if s.hasFailed() {
		t.Logf("replay: ROLLCALL_SIM_TRACE=1 ROLLCALL_SIM_SEEDS=%d-%d go test -run 'TestEventsAreRightAtRest$' ./presence/cluster (plan %+v)",
			seed, seed+1, s.plan)
	}
	return e
}
