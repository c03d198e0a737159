package cluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// simPod is a pod across its incarnations.
type simPod struct {
	index    int
	dc, name string
	run      *simRun // nil if it does not run
	last     *simRun // the last run; nil before the first
	disk     simDisk
	clock    simClock
}

// simRun is one incarnation.
type simRun struct {
	*simPod
	sim     *sim
	port    *simPort
	reg     *presence.Registry
	cluster *Cluster
	before  *simRun // run of the pod before this one; nil if there is none
	blank   bool    // it was started without the disk of the run before
	rules   presence.RulesSource
	events  *simSpeaker // nil without events

	// sim.ears guards the fields below. The driver changes them, with sim.mu held.
	began   time.Time
	ended   time.Time // zero if it runs
	closed  bool      // it has ended with a goodbye
	unsaved bool      // its disk failed then, and does not say so
	moved   time.Time // time at which its hosts last changed
	stopped time.Time // time at which it was last stopped
	resumed time.Time // time at which it last continued after a pause
	plugged time.Time // time at which it last had the bus again
	paused  bool
	offline bool                 // it has no bus
	lost    time.Time            // time at which it last lost the bus
	weighed time.Time            // time for which crashes were last looked for
	serving [2]time.Time         // for each host, time since which it serves it; zero if it does not
	anew    map[string]time.Time // time at which a pod of a data center was heard after a silence
	pairs   []*simPair           // by the order of the other run's port

	completed [2]*simAnswer // its last complete answer, for each host; guarded by sim.mu

	mu     sync.Mutex
	serves map[presence.HostName]bool
}

// start starts the pod, which serves some of the hosts.
func (p *simPod) start(s *sim, hosts []presence.HostName) {
	r := &simRun{
		simPod: p, sim: s, before: p.last,
		port:   s.net.port(p.index),
		reg:    presence.NewRegistry(&s.tape),
		began:  time.Now(),
		anew:   make(map[string]time.Time),
		serves: make(map[presence.HostName]bool),
		rules:  s.rules,
	}
	t := timing.Default()
	t.Stall = r.port.running
	t.Wall = p.clock.now
	t.Slept = func() time.Duration { return 0 }
	cfg := Config{DataCenter: p.dc, Pod: p.name, Logger: s.logger(p.name), memory: simFile{&p.disk, r.port}}
	if s.events != nil {
		s.events.attach(r, &cfg)
	}
	s.ears.Lock()
	s.runs = append(s.runs, r)
	s.ears.Unlock()
	c, err := start(cfg, r.port, r.reg, r, t)
	if err != nil {
		s.t.Fatal(err)
	}
	r.cluster = c
	s.ears.Lock() // pods that run already hear, and judge, meanwhile
	p.run, p.last = r, r
	s.ears.Unlock()
	p.clock.seen(c.link.Self().Incarnation.Started)
	r.setHosts(hosts)
}

func (r *simRun) end() bool { return !r.ended.IsZero() }

// setHosts replaces the hosts that the pod serves.
func (r *simRun) setHosts(hosts []presence.HostName) {
	now := time.Now()
	r.mu.Lock()
	r.sim.ears.Lock()
	r.moved = now
	var set []string
	for i, h := range r.sim.hosts {
		serves := slices.Contains(hosts, h)
		r.serves[h] = serves
		r.sim.facts.serves(r, h, serves)
		switch {
		case !serves:
			r.serving[i] = time.Time{}
			for _, a := range r.sim.runs {
				r.sim.pair(a, r).known[i] = time.Time{}
			}
		case r.serving[i].IsZero():
			r.serving[i] = now
		}
		if serves {
			set = append(set, h.String())
		}
	}
	r.sim.ears.Unlock()
	r.mu.Unlock()
	r.cluster.SetSites([]message.Site{{Sets: [][]string{set}, Events: r.events.on()}})
	r.events.refresh()
}

// Serves implements Local.
func (r *simRun) Serves(host presence.HostName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serves[host]
}

// Connections implements Local.
func (r *simRun) Connections() int { return 0 }

// Explain implements Local.
func (r *simRun) Explain(presence.HostName, string) []message.Connection { return nil }

// Hosts implements Local.
func (*simRun) Hosts(presence.HostName) []message.HostCount { return nil }

// Listeners implements Local.
func (*simRun) Listeners(presence.HostName, presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	return of, nil, false
}

// Disconnect implements Local.
func (r *simRun) Disconnect(presence.HostName, string, *message.Call) int { return 0 }

// Leave implements Local.
func (r *simRun) Leave(presence.HostName, *message.Call) int { return 0 }

// simTape is an encoder whose frames are indexes into a list.
type simTape struct {
	mu     sync.Mutex
	values []any // []presence.View, presence.Joined, presence.Diff, simText or the name of a channel that was left
}

func (tp *simTape) Members(users []presence.View, _ presence.Fields) []byte {
	return tp.put(slices.Clone(users))
}
func (tp *simTape) Joined(j presence.Joined) []byte                  { return tp.put(j) }
func (tp *simTape) Presence(d presence.Diff) []byte                  { return tp.put(d) }
func (tp *simTape) Left(_, channel string, _ presence.Reason) []byte { return tp.put(channel) }

func (tp *simTape) Message(_ string, _ presence.Source, msg []byte) []byte {
	return tp.put(simText(msg))
}

// simText is a message to a channel.
type simText string

func (tp *simTape) AppendUser(b []byte, _ *presence.User, _ bool) []byte { return b }
func (tp *simTape) AppendPrivate(b []byte, _ presence.ID, _ *presence.User, _ bool) []byte {
	return b
}

func (tp *simTape) put(v any) []byte {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.values = append(tp.values, v)
	return binary.BigEndian.AppendUint64(nil, uint64(len(tp.values)-1))
}

func (tp *simTape) get(frame []byte) any {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.values[binary.BigEndian.Uint64(frame)]
}

// simClient is a client across its connections.
type simClient struct {
	sim   *sim
	id    int
	host  presence.HostName
	run   *simRun // nil if not connected
	conn  *presence.Conn
	user  string                    // "" if anonymous
	joins map[string]presence.Watch // channels that it listens to

	mu    sync.Mutex
	out   *simOutbox
	views map[string]*simView // its views
	texts []string            // messages that it received
	open  map[string]int      // number of unanswered joins
}

// simView is a watcher's view of a channel.
type simView struct {
	named   bool
	members map[string]bool
	known   map[string]string // info and status of members
	count   int
	seq     uint64
	first   uint64    // seq of the snapshot
	since   time.Time // time of the snapshot
	more    bool      // a user came after it
}

// simOutbox is the outbox of one connection of a client.
type simOutbox struct {
	client *simClient
	ended  bool // guarded by client.mu
}

func (o *simOutbox) Queue(frames []byte, n int) bool {
	for frame := range slices.Chunk(frames, len(frames)/n) {
		o.Push(frame)
	}
	return false
}

func (o *simOutbox) Flush() {}

// Push implements presence.Outbox: it checks that each frame follows from the ones before.
func (o *simOutbox) Push(frame []byte) {
	c := o.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.ended {
		return
	}
	switch f := c.sim.tape.get(frame).(type) {
	case presence.Joined:
		c.joined(f)
	case presence.Diff:
		c.told(f)
	case simText:
		c.texts = append(c.texts, string(f))
	case string:
		delete(c.views, f)
	}
}

func (c *simClient) joined(j presence.Joined) {
	c.open[j.Channel]--
	if j.Watch == presence.WatchNone {
		delete(c.views, j.Channel)
		return
	}
	v := &simView{count: j.Count, seq: j.Seq, first: j.Seq, since: time.Now(), members: make(map[string]bool), known: make(map[string]string)}
	if j.Members != nil {
		v.named = true
		for _, u := range c.sim.tape.get(j.Members).([]presence.View) {
			if v.members[u.ID] {
				c.fail("%s: %s is twice in a snapshot", j.Channel, u.ID)
			}
			v.members[u.ID], v.known[u.ID] = true, u.Info+u.Status
		}
		if len(v.members) != j.Count {
			c.fail("%s: a snapshot counts %d and lists %v", j.Channel, j.Count, sortedKeys(v.members))
		}
	}
	c.views[j.Channel] = v
}

func (c *simClient) told(d presence.Diff) {
	v := c.views[d.Channel]
	if v == nil {
		c.fail("%s: a frame for one who does not watch", d.Channel)
		return
	}
	if d.Seq != v.seq+1 {
		c.fail("%s: seq %d follows %d", d.Channel, d.Seq, v.seq)
	}
	v.more = v.more || len(d.Joined) > 0 || d.Count > v.count
	v.seq, v.count = d.Seq, d.Count
	for _, u := range d.Left {
		c.sim.truth.left(c, d.Channel, u.ID)
	}
	if !v.named {
		return
	}
	for _, u := range d.Joined {
		if v.members[u.ID] {
			c.fail("%s: %s joined and was there", d.Channel, u.ID)
		}
		v.members[u.ID], v.known[u.ID] = true, u.Info+u.Status
	}
	for _, u := range d.Left {
		if !v.members[u.ID] {
			c.fail("%s: %s left and was not there", d.Channel, u.ID)
		}
		delete(v.members, u.ID)
	}
	for _, u := range d.Updated {
		if !v.members[u.ID] {
			c.fail("%s: %s has changed and was not there", d.Channel, u.ID)
		}
		v.known[u.ID] = u.Info + u.Status
	}
	if len(v.members) != d.Count {
		c.fail("%s: a frame counts %d, there are %v", d.Channel, d.Count, sortedKeys(v.members))
	}
}

func (c *simClient) fail(format string, args ...any) {
	on := "no pod"
	if c.run != nil {
		on = c.run.name
	}
	c.sim.fail("client %d on %s: "+format, append([]any{c.id, on}, args...)...)
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (r *simRun) String() string { return fmt.Sprintf("%s/%s", r.dc, r.name) }
