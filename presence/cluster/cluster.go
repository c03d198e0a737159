// Package cluster makes one deployment of many pods, in one data center or several.
//
// The pod that holds a socket is the only one that speaks for it. Pods announce themselves once a second; one that is
// silent for 3 s is suspect, after 5 s it is gone. A question about a host goes to the live pods that serve it, by name,
// and the answer says who of them did not reply. What listeners see of a channel on other pods is kept by deltas, which
// each pod that has watchers of the channel applies, with a check for lost ones every few seconds. Messages go to the pods
// that have connections of the host, at most once and without a check.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Config says what a deployment is.
type Config struct {
	Name       string // of the deployment; default "rollcall"
	DataCenter string
	Pod        string
	Bus        bus.Config // Name, Logger and OnState are filled in
	// Secret authenticates payloads. Default: none, which trusts whoever the bus lets in.
	Secret string
	// Assignments is the book of this pod, to be kept the same as those of others. Default: none.
	Assignments *assignment.Book
	// Timeout is how long to wait for pods of the same data center, default 500 ms; Remote for those of others, default 1.5 s.
	Timeout, Remote time.Duration
	// Observe is called after each question, with its kind (count, members, users or explain), whether the answer was complete,
	// and how long it took. Default: nobody.
	Observe func(kind string, complete bool, took time.Duration)
	Logger  *zap.Logger
}

// Cluster is this pod's place in the deployment. It is safe for concurrent use.
type Cluster struct {
	name        string
	bus         transport
	link        *link
	members     *members
	responder   *responder
	replicator  *replicator
	messenger   *messenger
	assignments *assignments // nil: without a book
	registry    *presence.Registry
	timing      timing
	*asker

	closing sync.Once
	stop    chan struct{}  // closed by Close
	all     sync.WaitGroup // goroutines
	cancels []func()       // subscriptions
	closed  func()         // ends the bus; nil: it is not ours
}

// Start joins the deployment. It returns when the bus is open, before other pods are known, see [Cluster.Ready], and also
// when an external NATS cannot be reached yet: that is tried on. The registry's relay is the cluster until
// [Cluster.Close].
func Start(cfg Config, registry *presence.Registry, local Local) (*Cluster, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	var (
		mu    sync.Mutex
		c     *Cluster
		known bool // whether the bus said how it is
		up    bool
	)
	cfg.Bus.Name = fmt.Sprintf("%s.%s.%08x", cfg.DataCenter, cfg.Pod, uint32(random()))
	cfg.Bus.Logger = cfg.Logger
	cfg.Bus.OnState = func(connected bool) {
		mu.Lock()
		defer mu.Unlock()
		known, up = true, connected
		if c != nil {
			c.members.setConnected(connected)
		}
	}
	b, err := bus.Open(cfg.Bus)
	if err != nil {
		return nil, fmt.Errorf("opening the bus: %w", err)
	}
	started, err := start(cfg, b, registry, local, defaultTiming)
	if err != nil {
		b.Close()
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	c = started
	c.closed = b.Close
	if !known {
		up = b.State().Connected
	}
	c.members.setConnected(up)
	return c, nil
}

// start joins the deployment over a transport that stays the caller's.
func start(cfg Config, tr transport, registry *presence.Registry, local Local, t timing) (*Cluster, error) {
	if cfg.Name == "" {
		cfg.Name = "rollcall"
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Timeout > 0 {
		t.timeout = cfg.Timeout
	}
	if cfg.Remote > 0 {
		t.remote = cfg.Remote
	}
	self := peer{cfg.DataCenter, cfg.Pod, message.Incarnation{Started: time.Now().UnixMilli(), Random: random()}}
	l := newLink(tr, cfg.Name, cfg.Secret, self, cfg.Logger)
	// The codec knows which names can be sent.
	if _, err := l.codec.Append(nil, l.all(), self.sender(), &message.Goodbye{}); err != nil {
		return nil, fmt.Errorf("data center %q, pod %q: %w", cfg.DataCenter, cfg.Pod, err)
	}
	c := &Cluster{name: cfg.Name, bus: tr, link: l, registry: registry, timing: t, stop: make(chan struct{})}
	load := func() (connections, hosts uint64) {
		return uint64(max(local.Connections(), 0)), uint64(registry.Len())
	}
	c.members = newMembers(l, t, load, c, cfg.Logger)
	l.standing = c.members.standing
	c.responder = newResponder(l, registry, local)
	c.asker = newAsker(l, c.members, c.responder, t, cfg.Observe, &c.all, c.stop)
	c.replicator = newReplicator(l, c.members, registry.Pods(), t, cfg.Logger)
	c.messenger = newMessenger(l, registry.Pods(), t, cfg.Logger)
	c.assignments = newAssignments(l, c.members, cfg.Assignments, t)
	c.responder.start(&c.all, c.stop)
	if err := c.subscribe(); err != nil {
		_ = c.leave()
		return nil, err
	}
	registry.Pods().SetRelay(relay{c.replicator, c.messenger})
	c.all.Go(func() { c.members.run(c.stop) })
	if c.assignments != nil {
		c.all.Go(func() { c.assignments.run(c.stop) })
	}
	return c, nil
}

func (c *Cluster) subscribe() error {
	takers := map[string]func(from peer, m message.Message){
		c.link.all():                     c.members.take,
		c.link.queries():                 c.responder.take,
		c.link.queriesOf(c.link.self.dc): c.responder.take,
		c.link.inbox(c.link.self):        c.take,
	}
	if c.assignments != nil {
		takers[c.link.assigned()] = c.assignments.take
		takers[c.link.assignedOf(c.link.self)] = c.assignments.take
	}
	for subject, take := range takers {
		in, err := c.link.subscribe(subject, loosely, take)
		if err != nil {
			return fmt.Errorf("subscribing on the bus: %w", err)
		}
		c.cancels = append(c.cancels, in.end)
	}
	if err := c.flush(); err != nil && !errors.Is(err, bus.ErrDisconnected) {
		return err
	}
	return nil // without a connection, the bus subscribes when it has one
}

// flush waits until the bus has taken everything, if it can tell.
func (c *Cluster) flush() error {
	if b, ok := c.bus.(interface{ Flush() error }); ok {
		return b.Flush()
	}
	return nil
}

// take takes what comes to this pod's inbox.
func (c *Cluster) take(from peer, m message.Message) {
	switch m := m.(type) {
	case *message.Reply:
		if !c.asker.take(from, m) {
			c.link.unknown.Add(1)
		}
	case *message.Delta, *message.Check, *message.CheckDone:
		c.replicator.take(from, m)
	default:
		c.members.take(from, m)
	}
}

// The cluster follows its members.

func (c *Cluster) up(p peer) {
	c.replicator.up(p)
	c.assignments.up(p)
}

func (c *Cluster) down(p peer) {
	c.link.forget(p)
	c.asker.gone(p)
	c.replicator.down(p)
	c.assignments.down(p)
}

func (c *Cluster) recheck() {
	c.replicator.recheck()
	c.assignments.recheck()
}

func (c *Cluster) sitesChanged(p peer) { c.replicator.sitesChanged(p) }

// SetSites says anew which hosts this pod serves. It is to be called before a host that is new can have connections.
func (c *Cluster) SetSites(sites []message.Site) { c.members.setSites(sites) }

// Ready reports whether the pod has had time to hear who else is there. Until then no answer is complete. It stays true
// when the bus is gone for a while: answers are not complete then, but another pod would be no better off.
func (c *Cluster) Ready() bool { return c.members.pulse.ready.Load() }

// Drain tells the other pods that this one is about to end.
func (c *Cluster) Drain() {
	c.members.pulse.draining.Store(true)
	c.members.beat()
}

// Close says goodbye, and ends all that Start began.
func (c *Cluster) Close() error {
	var err error
	c.closing.Do(func() {
		c.replicator.close() // tells what changed last, which the registry then forgets
		c.registry.Pods().SetRelay(nil)
		err = c.leave()
	})
	return err
}

// Spread tells all other pods of changes, and waits until they have kept them, or for as long as for answers. The truth
// names those that have not said so; they will have the changes when they are there again.
func (c *Cluster) Spread(ctx context.Context, host presence.HostName, records []assignment.Record) Truth {
	missing, knows := c.members.unreachable(host, ScopeAll), c.members.pulse.knows()
	if c.assignments != nil && len(records) > 0 {
		missing = append(missing, c.assignments.spread(ctx, records, c.stop)...)
	}
	missing = distinct(missing)
	return Truth{Complete: knows && len(missing) == 0, Missing: missing}
}

func (c *Cluster) leave() error {
	for _, cancel := range c.cancels {
		cancel()
	}
	c.replicator.close()
	c.messenger.close()
	c.asker.close()
	close(c.stop)
	c.all.Wait()
	c.link.send(c.link.all(), &message.Goodbye{})
	err := c.flush()
	if c.closed != nil {
		c.closed()
	}
	if err != nil {
		return errors.Join(errors.New("saying goodbye"), err)
	}
	return nil
}

// relay is what the registry tells of changes and messages.
type relay struct {
	*replicator
	*messenger
}

var _ presence.Relay = relay{}
