// Package cluster joins many pods into one deployment, in one data center or several.
//
// Only the pod that has a socket reports about it. Pods send heartbeats once a second; a pod that
// is silent for 3 s is suspect, and after 5 s it counts as lost. A query about a host goes to the
// live pods that serve it, by name, and the answer names the pods that did not reply. What watchers
// see of a channel on other pods is kept by deltas, which each pod with watchers of the channel
// merges. Lost deltas are found by a check every few seconds. Messages go to the pods that have
// connections of the host, at most once and without a check.
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

// Config configures a deployment.
type Config struct {
	Name       string // name of the deployment; if "", "rollcall"
	DataCenter string
	Pod        string
	Bus        bus.Config // Start sets its Name, Logger and OnState
	// Secret authenticates payloads. If "", every client of the bus is trusted.
	Secret string
	// Assignments is the book of this pod, which is kept equal to those of other pods. If nil,
	// there are no assignments.
	Assignments *assignment.Book
	// Timeout is how long a query waits for pods of this data center; if 0, 500 ms. Remote is the
	// same for other data centers; if 0, 1.5 s.
	Timeout, Remote time.Duration
	// Observe is called after each query, with its kind (count, members, users or explain), whether
	// the answer is complete, and its duration. If nil, queries are not observed.
	Observe func(kind string, complete bool, took time.Duration)
	Logger  *zap.Logger
}

// Cluster is this pod in the deployment. Its methods are safe for concurrent use.
type Cluster struct {
	name        string
	bus         transport
	link        *link
	members     *members
	responder   *responder
	replicator  *replicator
	messenger   *messenger
	assignments *assignments // nil without a book
	registry    *presence.Registry
	timing      timing
	queries     *queries
	asker       // AllUsers and the other queries

	closing sync.Once
	stop    chan struct{}  // closed by Close
	all     sync.WaitGroup // goroutines
	cancels []func()       // subscriptions
	closed  func()         // closes the bus; nil if the caller owns it
}

// Start joins the deployment. It returns when the bus is open, before other pods are known, see
// [Cluster.Ready]. If an external NATS is not reachable yet, it returns as well, and the bus keeps
// connecting. The cluster is the registry's relay until [Cluster.Close].
func Start(cfg Config, registry *presence.Registry, local Local) (*Cluster, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	var (
		mu    sync.Mutex
		c     *Cluster
		known bool // the bus has reported its state
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

// start joins the deployment over a transport that the caller owns.
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
	if err := l.CheckNames(); err != nil {
		return nil, err
	}
	c := &Cluster{name: cfg.Name, bus: tr, link: l, registry: registry, timing: t, stop: make(chan struct{})}
	load := func() (connections, hosts uint64) {
		return uint64(max(local.Connections(), 0)), uint64(registry.Len())
	}
	c.members = newMembers(l, t, load, podEvents{c}, cfg.Logger)
	c.responder = newResponder(l, registry, local)
	c.queries = newQueries(l, c.members, c.responder, t, cfg.Observe, &c.all, c.stop)
	c.asker = c.queries.Asker()
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
		c.link.all():                       c.members.handle,
		c.link.queries():                   c.responder.handle,
		c.link.queriesOf(c.link.Self().dc): c.responder.handle,
		c.link.inbox(c.link.Self()):        c.handle,
	}
	if c.assignments != nil {
		takers[c.link.assigned()] = c.assignments.handle
		takers[c.link.assignedOf(c.link.Self())] = c.assignments.handle
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

// flush waits until the bus has sent everything, if it can tell.
func (c *Cluster) flush() error {
	if b, ok := c.bus.(interface{ Flush() error }); ok {
		return b.Flush()
	}
	return nil
}

// handle handles the messages of this pod's inbox.
func (c *Cluster) handle(from peer, m message.Message) {
	switch m := m.(type) {
	case *message.Reply:
		if !c.queries.addReply(from, m) {
			c.link.counts.unknown.Add(1)
		}
	case *message.Delta, *message.Check, *message.CheckDone:
		c.replicator.handle(from, m)
	default:
		c.members.handle(from, m)
	}
}

// podEvents passes what the members observe to the other rooms. It is apart from Cluster, so that
// its methods are not Cluster's.
type podEvents struct{ c *Cluster }

func (e podEvents) PodUp(p peer) {
	e.c.replicator.PodUp(p)
	e.c.assignments.PodUp(p)
}

func (e podEvents) PodDown(p peer) {
	e.c.link.forget(p)
	e.c.queries.PodDown(p)
	e.c.replicator.PodDown(p)
	e.c.assignments.PodDown(p)
}

func (e podEvents) RecheckAll() {
	e.c.replicator.RecheckAll()
	e.c.assignments.RecheckAll()
}

func (e podEvents) SitesChanged(p peer) { e.c.replicator.SitesChanged(p) }

// SetSites replaces the sites that this pod serves. It must be called before a new host has
// connections.
func (c *Cluster) SetSites(sites []message.Site) { c.members.setSites(sites) }

// Ready reports whether the pod has had time to discover other pods. Before that, no answer is
// complete. It stays true if the bus is disconnected: answers are not complete then, but those of
// another pod would not be better.
func (c *Cluster) Ready() bool { return c.members.Ready() }

// Drain announces to other pods that this one is about to end.
func (c *Cluster) Drain() { c.members.Drain() }

// Close sends a goodbye and ends everything that Start has started.
func (c *Cluster) Close() error {
	var err error
	c.closing.Do(func() {
		c.replicator.close() // publishes the last changes, which the registry then forgets
		c.registry.Pods().SetRelay(nil)
		err = c.leave()
	})
	return err
}

// Spread sends changes of assignments to all other pods, and waits until the pods that serve the
// host have stored them, at most for the time of a query. If a pod has a later version, the changes
// are made again with versions above it, which are written to records.
//
// The result is complete if each of these pods has stored the changes, or later ones. It names the
// pods that have not confirmed; they receive the changes when they are back.
func (c *Cluster) Spread(ctx context.Context, host presence.HostName, records []assignment.Record) Truth {
	missing, settled := c.members.unreachable(host, ScopeAll), c.members.KnowsPods()
	if c.assignments != nil && len(records) > 0 {
		silent, held := c.assignments.spread(ctx, host, records, c.stop)
		missing, settled = append(missing, silent...), settled && held
		missing = append(missing, c.members.unreachable(host, ScopeAll)...)
	}
	return newTruth(settled && c.members.KnowsPods(), missing)
}

func (c *Cluster) leave() error {
	for _, cancel := range c.cancels {
		cancel()
	}
	c.replicator.close()
	c.messenger.close()
	c.queries.close()
	close(c.stop)
	c.all.Wait()
	c.link.send(c.link.all(), &message.Goodbye{})
	err := c.flush()
	if c.closed != nil {
		c.closed()
	}
	if err != nil {
		return fmt.Errorf("sending the goodbye: %w", err)
	}
	return nil
}

// relay is the registry's Relay, for changes and messages.
type relay struct {
	*replicator
	*messenger
}

var _ presence.Relay = relay{}
