// Package cluster joins many pods into one deployment, in one data center or several.
//
// Only the pod that has a socket reports about it. Pods send heartbeats once a second. A pod that
// is silent for 3 s is suspect, and after 5 s it is missing: it may be alive. Pods tell each other
// which pods they hear and miss, and keep that on disk. A missing pod is dead when it has said
// goodbye, when a later run has its name, or when a pod that hears more than half of its data
// center finds that it has crashed.
//
// A query about a host goes to the live pods that serve it, by name. The answer names the missing
// pods, and those that did not reply. Until a pod that starts has joined, its answers are not
// complete. What watchers see of a channel on other pods is kept by deltas, which each pod with
// watchers of the channel merges. Lost deltas are found by the next delta, or by a sum that pods
// compare every few seconds. Queries and checks are repeated while they are unanswered. Messages go
// to the pods that have connections of the host, at most once and without a check. So do the info
// and the status of users, which pods compare again after a while and after a cut.
//
// # Rooms
//
// Packages below internal do the work. A [Cluster] creates their parts, subscribes their handlers
// to the bus, and notifies them when pods join and leave. References point one way:
//
//   - link sends and receives messages as one pod, and sites has the sites of a pod. They use no
//     other room.
//   - memory keeps in a file what a run of a pod knows of others. It uses no other room.
//   - membership tracks which pods are alive, missing or dead. It uses link, sites and memory.
//   - query answers queries, replication keeps what watchers see, and assignments keeps the
//     assignments. Each uses link and membership, and none of the other two.
//   - messages carries messages, and the info and the status of users. It uses link.
//   - events carries who is there to the pod that tells events. It uses link, membership and
//     assignments, for its epochs.
//
// timing and work are for all rooms: durations, and the parts of goroutines.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/assignments"
	eventsroom "github.com/rollcall-gateway/rollcall/presence/cluster/internal/events"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/messages"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/query"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/replication"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// Config configures a deployment.
type Config struct {
	Name       string // name of the deployment; if "", "rollcall"
	DataCenter string
	Pod        string
	Bus        bus.Config // Start sets its Name, Logger and OnState
	// Secret authenticates payloads. If "", every client of the bus is trusted.
	Secret string
	// Assignments is the book of this pod, which is kept equal to those of other pods, and uses the
	// cluster's clock from then on. If nil, there are no assignments.
	Assignments *assignment.Book
	// Events tells events of the pods. If nil, this pod tells none, and other pods those of its
	// connections.
	Events *events.Speaker
	// Timeout is how long a query waits for pods of this data center; if 0, 500 ms. Remote is the
	// same for other data centers; if 0, 1.5 s.
	Timeout, Remote time.Duration
	// Standby makes the cluster wait for [Cluster.Activate] until it becomes the registry's relay
	// and opens Memory, because another cluster has both.
	Standby bool
	// Observe is called after each query, with its kind (like count or members), whether the answer
	// is complete, and its duration. If nil, queries are not observed.
	Observe func(kind string, complete bool, took time.Duration)
	// Memory is the path of the file in which the pod keeps which pods it knows, for its next run.
	// It and its folder are created. If "", a pod that starts during a cut does not know which pods
	// its answers lack.
	Memory string
	Logger *zap.Logger

	memory membership.Memory // set by Start; nil if nothing is kept
}

// Cluster is this pod in the deployment. Its methods are safe for concurrent use.
type Cluster struct {
	name        string
	bus         link.Transport
	link        *link.Link
	members     *membership.Members
	responder   *query.Responder
	replicator  *replication.Replicator
	messenger   *messages.Messenger
	assignments *assignments.Keeper // nil without a book
	events      *eventsroom.Room
	speaker     *events.Speaker // nil without one
	registry    *presence.Registry
	queries     *query.Queries
	asker       // AllUsers and the other queries

	standby *Config // of a cluster that was started on standby; otherwise nil

	closing sync.Once
	stop    chan struct{}  // closed by Close
	all     sync.WaitGroup // goroutines
	cancels []func()       // subscriptions
	closed  func() error   // closes the bus and the memory; nil if the caller owns them
}

// Start joins the deployment. It returns when the bus is open, before other pods are known, see
// [Cluster.Ready]. If an external NATS is not reachable yet, it returns as well, and the bus keeps
// connecting. The cluster is the registry's relay until [Cluster.Close], or from [Cluster.Activate]
// on.
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
	cfg.Bus.Name = fmt.Sprintf("%s.%s.%08x", cfg.DataCenter, cfg.Pod, uint32(link.Random()))
	cfg.Bus.Logger = cfg.Logger
	cfg.Bus.OnState = func(connected bool) {
		mu.Lock()
		defer mu.Unlock()
		known, up = true, connected
		if c != nil {
			c.members.SetConnected(connected)
		}
	}
	closeMemory := func() error { return nil }
	if !cfg.Standby {
		var err error
		if closeMemory, err = cfg.openMemory(); err != nil {
			return nil, err
		}
	}
	b, err := bus.Open(cfg.Bus)
	if err != nil {
		_ = closeMemory() // the first error says more
		return nil, fmt.Errorf("opening the bus: %w", err)
	}
	started, err := start(cfg, b, registry, local, timing.Default())
	if err != nil {
		b.Close()
		_ = closeMemory() // the first error says more
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	c = started
	c.closed = func() error {
		b.Close()
		return closeMemory()
	}
	if !known {
		up = b.State().Connected
	}
	c.members.SetConnected(up)
	return c, nil
}

// start joins the deployment over a transport that the caller owns.
func start(cfg Config, tr link.Transport, registry *presence.Registry, local Local, t timing.Timing) (*Cluster, error) {
	cfg.Name = cmp.Or(cfg.Name, defaultName)
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	t.Timeout, t.Remote = cfg.timeouts(t)
	known, err := begin(cfg.memory, t.WallTime(), cfg.Logger)
	if err != nil {
		return nil, err
	}
	self := link.Peer{
		DC: cfg.DataCenter, Pod: cfg.Pod,
		Incarnation: message.Incarnation{Started: known.Started, Random: link.Random()},
	}
	l := link.New(tr, cfg.Name, cfg.Secret, self, cfg.Logger)
	if err := l.CheckNames(); err != nil {
		return nil, err
	}
	c := &Cluster{name: cfg.Name, bus: tr, link: l, registry: registry, stop: make(chan struct{})}
	load := func() (connections, hosts uint64) {
		return uint64(max(local.Connections(), 0)), uint64(registry.Len())
	}
	c.members = membership.New(l, t, load, podEvents{c}, cfg.Logger)
	if cfg.memory != nil {
		c.members.Restore(cfg.memory, known)
	}
	c.responder = query.NewResponder(l, registry, local)
	c.queries = query.New(l, c.members, c.responder, t, cfg.Observe, &c.all, c.stop)
	c.asker = c.queries.Asker()
	c.replicator = replication.New(l, c.members, registry.Pods(), t, cfg.Logger)
	shared := func(host presence.HostName) bool { return len(c.members.Serving(host, ScopeAll, true)) > 0 }
	c.messenger = messages.New(l, registry.Pods(), t, shared, cfg.Logger)
	c.assignments = assignments.New(l, c.members, cfg.Assignments, t)
	c.events, c.speaker = eventsroom.New(l, c.members, c.assignments, registry.Pods(), cfg.Events, t), cfg.Events
	c.members.SetSynced(c.assignments.Synced, c.assignments.SyncedFor, c.assignments.Unsettled)
	c.responder.Start(&c.all, c.stop)
	if err := c.subscribe(); err != nil {
		_ = c.leave(false)
		return nil, err
	}
	c.all.Go(func() { c.members.Run(c.stop) })
	if cfg.Standby {
		c.standby = &cfg
	} else {
		if cfg.Assignments != nil {
			cfg.Assignments.SetClock(c.members.Clock)
		}
		c.Activate()
		c.all.Go(func() { c.members.Remember(c.stop) })
	}
	if c.assignments != nil {
		c.all.Go(func() { c.assignments.Run(c.stop) })
	}
	return c, nil
}

func (c *Cluster) subscribe() error {
	handlers := map[string]func(from link.Peer, m message.Message){
		c.link.All():                       c.members.Handle,
		c.link.Queries():                   c.responder.Handle,
		c.link.QueriesOf(c.link.Self().DC): c.responder.Handle,
		c.link.Inbox(c.link.Self()):        c.handle,
	}
	if c.assignments != nil {
		handlers[c.link.Assignments()] = c.assignments.HandleShared
		handlers[c.link.AssignmentsOf(c.link.Self())] = c.assignments.Handle
	}
	for subject, handle := range handlers {
		in, err := c.link.Subscribe(subject, link.Loose, handle)
		if err != nil {
			return fmt.Errorf("subscribing on the bus: %w", err)
		}
		c.cancels = append(c.cancels, in.End)
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
func (c *Cluster) handle(from link.Peer, m message.Message) {
	switch m := m.(type) {
	case *message.Reply:
		if !c.queries.AddReply(from, m) {
			c.link.Counts.Unknown.Add(1)
		}
	case *message.Query:
		c.responder.Handle(from, m)
	case *message.Details:
		c.messenger.HandleDetails(from, m)
	case *message.Delta, *message.Check, *message.CheckDone, *message.ShardSum, *message.HostSums, *message.HostShards, *message.Unfollow:
		c.replicator.Handle(from, m)
	case *message.EventsAsk, *message.EventsPart, *message.EventsTaken, *message.EventsLost, *message.EventsHosts:
		c.events.Handle(from, m)
	default:
		if _, ok := m.(*message.Probe); ok {
			c.assignments.Probed(from)
		}
		c.members.Handle(from, m)
	}
}

// podEvents passes what the members observe to the other rooms, and implements
// [membership.Observer]. It is a type of its own so that Cluster does not have its methods.
type podEvents struct{ c *Cluster }

func (e podEvents) PodUp(p link.Peer, back bool) {
	e.c.replicator.PodUp(p)
	e.c.messenger.PodUp(p, back)
	if back {
		e.c.registry.Pods().DoubtLast()
	}
	e.c.assignments.PodUp(p)
	e.c.events.PodUp(p)
}

func (e podEvents) PodDown(p link.Peer) {
	e.c.link.Forget(p)
	e.c.queries.PodDown(p)
	e.c.replicator.PodDown(p)
	e.c.assignments.PodDown(p)
	e.c.events.PodDown(p)
}

func (e podEvents) RecheckAll() {
	e.c.replicator.RecheckAll()
	e.c.messenger.Recall()
	e.c.registry.Pods().DoubtLast()
	e.c.assignments.RecheckAll()
	e.c.events.RecheckAll()
}

func (e podEvents) HeardAgain(p link.Peer) { e.c.assignments.HeardAgain(p) }

func (e podEvents) SitesChanged(p link.Peer) {
	e.c.replicator.SitesChanged(p)
	e.c.assignments.SitesChanged(p)
	e.c.events.SitesChanged()
}

// SetSites replaces the sites that this pod serves. It must be called before a new host has
// connections. Answers about a new host are not complete until this pod has its assignments.
func (c *Cluster) SetSites(sites []message.Site) {
	c.members.SetSites(sites)
	c.assignments.SetSites()
	c.events.SitesChanged()
}

// Ready reports whether the pod has had time to discover other pods. Before that, no answer is
// complete. It stays true if the bus is disconnected: answers are not complete then, but those of
// another pod would not be better.
func (c *Cluster) Ready() bool { return c.members.Ready() }

// Begins reports whether the pod has begun to serve the host in the last 5 s, or is about to, and
// may not know yet what others have of it: assignments and revocations.
func (c *Cluster) Begins(host presence.HostName) bool { return c.assignments.Begins(host) }

// Forget ends a missing or crashed pod that will not come back, on all pods. If it does come back,
// it joins as before. It returns [ErrPodHeard] for a pod that is heard, and [ErrPodUnknown] for one
// that is not missing.
func (c *Cluster) Forget(dataCenter, pod string) error { return c.members.Forget(dataCenter, pod) }

// Drain announces to other pods that this one is about to end.
func (c *Cluster) Drain() { c.members.Drain() }

// Close sends a goodbye and ends everything that Start has started. After Leave, it does nothing.
func (c *Cluster) Close() error {
	var err error
	c.closing.Do(func() {
		c.replicator.Close() // publishes the last changes, which the registry then forgets
		c.registry.Pods().RemoveRelay(c.relay())
		err = c.leave(false)
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
	missing, settled := c.members.Unreachable(host, ScopeAll), c.members.Joined(host)
	if c.assignments != nil && len(records) > 0 {
		silent, held := c.assignments.Spread(ctx, host, records, c.stop)
		missing, settled = append(missing, silent...), settled && held
		missing = append(missing, c.members.Unreachable(host, ScopeAll)...)
	}
	return query.NewTruth(settled && c.members.Joined(host), missing)
}

func (c *Cluster) leave(back bool) error {
	for _, cancel := range c.cancels {
		cancel()
	}
	c.replicator.Close()
	c.messenger.Close()
	if c.speaker != nil {
		c.speaker.RemovePeers(c.events)
	}
	c.events.Close()
	c.queries.Close()
	close(c.stop)
	c.all.Wait()
	c.link.EndBundles()
	c.link.Send(c.link.All(), &message.Goodbye{Clock: c.members.Clock(), Back: back})
	err := c.flush()
	if err != nil {
		err = fmt.Errorf("sending the goodbye: %w", err)
	}
	if c.closed != nil {
		err = errors.Join(err, c.closed())
	}
	return err
}

// relay is the registry's Relay, for changes and messages.
type relay struct {
	*replication.Replicator
	*messages.Messenger
	members *membership.Members
	events  *eventsroom.Room
	queries *query.Queries
}

func (c *Cluster) relay() relay {
	return relay{c.replicator, c.messenger, c.members, c.events, c.queries}
}

// Opened implements [presence.Relay].
func (r relay) Opened(host presence.HostName) {
	r.Messenger.Opened(host)
	r.events.Opened(host)
}

// Clock implements [presence.Relay].
func (r relay) Clock() uint64 { return r.members.Clock() }

// AskLast implements [presence.LastAsker].
func (r relay) AskLast(host presence.HostName, channel string, id uint64) {
	r.queries.AskLast(host, channel, id)
}

var (
	_ presence.Relay     = relay{}
	_ presence.LastAsker = relay{}
)
