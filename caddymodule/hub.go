package caddymodule

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// wheelTick is how exact pings are.
const wheelTick = 100 * time.Millisecond

// hub is what lives longer than a configuration: connections, their tenants, and the numbers about them.
type hub struct {
	cfg      hubConfig
	registry *presence.Registry
	wheel    *socket.Wheel
	loop     *socket.Loop
	log      liveCore
	metrics  *metrics
	plugins  *pluginhost.Host
	copies   *copies.Copies
	// assignments are what users are joined to by the server.
	assignments *assign.Keeper
	draining    atomic.Bool
	started     time.Time
	inEffect    atomic.Pointer[snapshot]    // the first of the stack, nil when it is empty
	serving     atomic.Pointer[[]*snapshot] // the stack; when nothing is left in it, the last that was

	// cluster is nil while this pod is alone. It changes with applying held.
	cluster   atomic.Pointer[joined]
	startPods func(cluster.Config) (pods, error) // cluster.Start, but in tests

	// applying keeps two snapshots from being applied side by side. It is taken before mu.
	applying sync.Mutex

	// mu guards what follows.
	mu      sync.Mutex
	stack   []*snapshot // the first is in effect, the others are offered; changed by setStack
	ending  *drain      // nil until Caddy stops the last configuration
	tenants map[presence.HostName]*tenant
	clients addressConns
}

// tenant is a host with connections, as this package sees it: which site's rules hold for it now.
type tenant struct {
	name     presence.HostName
	site     atomic.Pointer[site.Site]
	counters *hostMetrics // of the connections to come; under hub.mu
	conns    int          // under hub.mu

	unfinished socket.Budget // bytes of messages that have not come whole
}

// Why a session is not begun.
var (
	errDraining = errors.New("the server is stopping")
	errReloaded = errors.New("the configuration was replaced")
)

// hubConfig is what a hub needs to know of the process. All fields are required.
type hubConfig struct {
	Folder  string      // where files are kept
	Exiting func() bool // reports whether the process is about to exit
}

func newHub(c hubConfig) *hub {
	h := &hub{
		cfg:      c,
		registry: presence.NewRegistry(wire.Encoder{}),
		wheel:    socket.NewWheel(wheelTick),
		log:      newLiveCore(),
		tenants:  make(map[presence.HostName]*tenant),
		started:  time.Now(),
	}
	h.startPods = func(cfg cluster.Config) (pods, error) {
		cfg.Assignments = h.assignments.Book
		c, err := cluster.Start(cfg, h.registry, h)
		if err != nil {
			return nil, err // a nil *Cluster in the interface would not be nil
		}
		return c, nil
	}
	h.loop = socket.NewLoop(h.notParked)
	h.plugins = pluginhost.New(pluginhost.Config{
		Folder: filepath.Join(c.Folder, "wasm"), Logger: h.log.named("rollcall.plugin"), Named: h.named, Exiting: c.Exiting,
	})
	h.copies = copies.New(copies.Config{
		Folder: filepath.Join(c.Folder, "backend"), Endpoints: h, Wanted: h.hasBackend, Label: h.label,
		Logger: h.log.named("rollcall.backend"),
	})
	h.assignments = assign.NewKeeper(filepath.Join(c.Folder, "assignments.db"), h.registry, isGreeted, h.log.named("rollcall.assignments"))
	h.metrics = newMetrics(h)
	return h
}

// notParked logs that an idle connection cannot be parked, where the configuration in effect does.
func (h *hub) notParked(err error) {
	h.log.named("rollcall").Warn(
		"the kernel cannot wait for an idle connection: it takes a goroutine until the next try", zap.Error(err))
}

// Destruct implements caddy.Destructor: no configuration has Rollcall any more.
func (h *hub) Destruct() error {
	for _, s := range h.sessions() {
		s.sock.Kill()
	}
	h.wheel.Stop()
	h.loop.Stop()
	// Drained already, but for a configuration that never stopped.
	h.endCluster(zap.NewNop(), time.Now())
	h.copies.Close(zap.NewNop(), time.Now())
	return errors.Join(h.assignments.Close(), h.plugins.Close())
}

// push offers a configuration. Without another one it is in effect at once.
func (h *hub) push(s *snapshot) {
	if old := h.current(); old != nil {
		s.inherit(old)
	}
	h.mu.Lock()
	h.setStack(append(h.stack, s))
	first := len(h.stack) == 1
	if first {
		h.ending = nil
		h.draining.Store(false)
	}
	h.mu.Unlock()
	h.offerSites()
	if first {
		h.copies.Reopen()
		h.apply()
	}
}

// pop takes a configuration back, if it was offered. The first of those that remain takes effect. With the last one,
// pop returns when the drain has ended.
func (h *hub) pop(s *snapshot) {
	h.startDrain(s, h.cfg.Exiting())
	last := h.isLast(s)
	if last {
		h.finishDrain()
	}
	h.mu.Lock()
	i := slices.Index(h.stack, s)
	if i >= 0 {
		h.setStack(slices.Delete(h.stack, i, i+1))
	}
	s.retired.Store(true)
	h.mu.Unlock()
	if i >= 0 && !last {
		h.apply()
	}
}

// isLast reports whether s is the only configuration of the hub.
func (h *hub) isLast(s *snapshot) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.stack) == 1 && h.stack[0] == s
}

// setStack replaces the stack. The lock is held.
func (h *hub) setStack(stack []*snapshot) {
	h.stack = stack
	if len(stack) == 0 {
		h.inEffect.Store(nil)
		return
	}
	h.inEffect.Store(stack[0])
}

// current returns the configuration in effect, nil when there is none.
func (h *hub) current() *snapshot { return h.inEffect.Load() }

// apply gives every tenant the site that the configuration in effect has for it, and closes those that it has none for.
func (h *hub) apply() {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.mu.Lock()
	if len(h.stack) == 0 {
		h.mu.Unlock()
		return
	}
	now := h.stack[0]
	h.log.follow(now.logger, true)
	h.mu.Unlock()
	h.assignments.Begin(now.cluster != nil)
	h.applyCluster(now) // before others are let in by new rules
	h.copies.Follow()

	h.mu.Lock()
	tenants := make([]*tenant, 0, len(h.tenants))
	for _, t := range h.tenants {
		tenants = append(tenants, t)
		if s := now.Find(t.name); s != nil {
			t.site.Store(s)
		}
		t.counters = h.metrics.host(now.label(t.name))
	}
	h.mu.Unlock()

	for _, t := range tenants {
		s := now.Find(t.name)
		if s == nil {
			closed := h.closeHost(t.name)
			now.logger.Info("host left the configuration",
				zap.Stringer("host", t.name), zap.Int("connections", closed))
			continue
		}
		if host := h.registry.Host(t.name); host != nil {
			host.SetRules(s.Rules())
			h.assignments.Joiner.Reclassified(host)
		}
	}
}

// closeHost closes the connections of a host that is not served any longer.
func (h *hub) closeHost(name presence.HostName) int {
	host := h.registry.Host(name)
	if host == nil {
		return 0
	}
	host.Retire() // they are not lost, so nobody waits for them to come back
	outboxes := host.Outboxes()
	for _, out := range outboxes {
		out.(*session).sock.Close(socket.CloseGoingAway, "host removed", socket.Cause{Reason: socket.ReasonHost})
	}
	return len(outboxes)
}

// connect makes a session of an upgraded socket. It returns errReloaded if the host's site is no longer the one that has
// judged the request.
func (h *hub) connect(
	sock *socket.Conn, name presence.HostName, served *site.Site, user *presence.User, client netip.Prefix,
) (*session, error) {
	s, err := h.newSession(sock, name, served, client)
	if err != nil {
		return nil, err
	}
	rules := s.tenant.site.Load().Rules()
	if err := s.connect(rules, user); err != nil {
		h.release(s)
		return nil, err
	}
	// What happened since newSession looked has not met this connection.
	h.mu.Lock()
	err = h.settle(s.tenant)
	h.mu.Unlock()
	if err != nil {
		h.disconnect(s)
		return nil, err
	}
	if s.tenant.site.Load().Rules() != rules {
		h.applying.Lock()
		defer h.applying.Unlock()
		if host := h.registry.Host(name); host != nil {
			host.SetRules(s.tenant.site.Load().Rules())
			h.assignments.Joiner.Reclassified(host)
		}
	}
	return s, nil
}

// settle gives the tenant the site that serves it now, and tells whether it may have new connections. The lock is held.
func (h *hub) settle(t *tenant) error {
	if len(h.stack) > 0 {
		if s := h.stack[0].Find(t.name); s != nil {
			t.site.Store(s)
		}
	}
	switch {
	case h.draining.Load():
		return errDraining
	case t.site.Load().Retired.Load():
		return errReloaded // the request came before, and the host has left the configuration
	}
	return nil
}

// newSession makes a session and counts it in.
func (h *hub) newSession(sock *socket.Conn, name presence.HostName, served *site.Site, client netip.Prefix) (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tenants[name]
	if t == nil {
		t = &tenant{name: name, counters: h.newCounters(name)}
		t.site.Store(served)
	}
	if err := h.settle(t); err != nil {
		return nil, err
	}
	if t.site.Load() != served {
		return nil, errReloaded
	}
	if err := h.clients.admit(client, t); err != nil {
		return nil, err
	}
	h.tenants[name] = t
	t.conns++
	s := &session{hub: h, tenant: t, sock: sock, counters: t.counters, since: time.Now().UnixMilli()}
	h.clients.add(client, s)
	// The socket can be closed as soon as the registry knows it, so it must know its session by then.
	sock.Handle(s, &t.counters.sockets, h.loop)
	return s, nil
}

// countersOf returns the numbers of a host, whether or not it has connections.
func (h *hub) countersOf(name presence.HostName) *hostMetrics {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tenants[name]; t != nil {
		return t.counters
	}
	return h.newCounters(name)
}

// sentByBackend counts a message of a backend: nil is one that was sent.
func (h *hub) sentByBackend(host presence.HostName, err error) {
	h.countersOf(host).sent(fromBackend, codeOf(err))
}

// newCounters returns the numbers of a host that is no tenant yet. The lock is held.
func (h *hub) newCounters(name presence.HostName) *hostMetrics {
	label := pluginhost.OtherHosts
	if len(h.stack) > 0 {
		label = h.stack[0].label(name)
	}
	return h.metrics.host(label)
}

// disconnect takes a session out, wherever connect has got to. It returns false when it is out, or never was in.
func (h *hub) disconnect(s *session) bool {
	s.mu.Lock()
	in := s.conn != nil && !s.ended
	s.ended = true
	s.mu.Unlock()
	if !in {
		return false
	}
	s.conn.Close()
	h.release(s)
	return true
}

// release counts a session out.
func (h *hub) release(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients.remove(s)
	t := s.tenant
	t.conns--
	if t.conns == 0 {
		delete(h.tenants, t.name)
	}
}

// sessions returns all that are connected now.
func (h *hub) sessions() []*session {
	var all []*session
	for _, host := range h.registry.Hosts() {
		for _, out := range host.Outboxes() {
			all = append(all, out.(*session))
		}
	}
	return all
}
