// Package gateway is what outlives a configuration: the [Hub] with all connections, the tenants that they belong to, and the
// numbers about them.
//
// A [Configuration] is offered to the hub when it starts, and takes effect when the one before is taken back: only then is it
// certain that it holds. A connection knows its tenant, never a configuration, so nothing of an old one lives on.
//
// A frame goes socket -> session -> presence.Host -> queues of the listeners -> sockets. A handshake goes [Hub.ServeSocket] ->
// [Door] -> site -> session. At a stop, [Hub.StartDrain] sends clients away.
package gateway

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
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// WheelTick is how exact pings are.
const WheelTick = 100 * time.Millisecond

// Hub is what lives longer than a configuration: connections, their tenants, and the numbers about them.
type Hub struct {
	cfg      Config
	Registry *presence.Registry
	wheel    *socket.Wheel
	loop     *socket.Loop
	log      liveCore
	metrics  *metrics
	Plugins  *pluginhost.Host
	copies   *copies.Copies
	// Assignments are what users are joined to by the server.
	Assignments *assign.Keeper
	draining    atomic.Bool
	// warnedOfHTTP2 limits the warnings about handshakes over HTTP/2.
	warnedOfHTTP2 oftenlog.Limit
	started       time.Time
	inEffect      atomic.Pointer[Configuration]    // the first of the stack, nil when it is empty
	serving       atomic.Pointer[[]*Configuration] // the stack; when nothing is left in it, the last that was

	// cluster is nil while this pod is alone. It changes with applying held.
	cluster atomic.Pointer[joined]
	// StartPods joins a cluster: by default, it starts a [cluster.Cluster]. It may be replaced before a configuration is
	// offered.
	StartPods func(cluster.Config) (Pods, error)

	// applying keeps two configurations from being applied at once. It is taken before mu.
	applying sync.Mutex

	// mu guards what follows.
	mu      sync.Mutex
	stack   []*Configuration // the first is in effect, the others are offered; changed by setStack
	ending  *drain           // nil until Caddy stops the last configuration
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

// Config is what a hub needs to know of the process. All fields are required.
type Config struct {
	Folder  string      // where files are kept
	Exiting func() bool // reports whether the process is about to exit
}

// New returns a hub without connections. [Hub.Destruct] has to be called.
func New(c Config) *Hub {
	h := &Hub{
		cfg:      c,
		Registry: presence.NewRegistry(wire.Encoder{}),
		wheel:    socket.NewWheel(WheelTick),
		log:      newLiveCore(),
		tenants:  make(map[presence.HostName]*tenant),
		started:  time.Now(),
	}
	h.StartPods = func(cfg cluster.Config) (Pods, error) {
		cfg.Assignments = h.Assignments.Book
		c, err := cluster.Start(cfg, h.Registry, h)
		if err != nil {
			return nil, err // a nil *Cluster in the interface would not be nil
		}
		return c, nil
	}
	h.loop = socket.NewLoop(h.notParked)
	h.Plugins = pluginhost.New(pluginhost.Config{
		Folder: filepath.Join(c.Folder, "wasm"), Logger: h.log.named("rollcall.plugin"), Named: h.named, Exiting: c.Exiting,
	})
	h.copies = copies.New(copies.Config{
		Folder: filepath.Join(c.Folder, "backend"), Endpoints: h, Wanted: h.hasBackend, Label: h.label,
		Logger: h.log.named("rollcall.backend"),
	})
	h.Assignments = assign.NewKeeper(filepath.Join(c.Folder, "assignments.db"), h.Registry, isGreeted, h.log.named("rollcall.assignments"))
	h.metrics = newMetrics(h)
	return h
}

// LogTo makes all that outlives a configuration log where a configuration logs. A configuration that is not in effect is
// used if there is no other.
func (h *Hub) LogTo(logger *zap.Logger, inEffect bool) { h.log.follow(logger, inEffect) }

// notParked logs that an idle connection cannot be parked, where the configuration in effect does.
func (h *Hub) notParked(err error) {
	h.log.named("rollcall").Warn(
		"the kernel cannot wait for an idle connection: it takes a goroutine until the next try", zap.Error(err))
}

// Destruct implements caddy.Destructor: no configuration has Rollcall now.
func (h *Hub) Destruct() error {
	for _, s := range h.sessions() {
		s.sock.Kill()
	}
	h.wheel.Stop()
	h.loop.Stop()
	// The drain has done this already, unless a configuration never stopped.
	h.endCluster(zap.NewNop(), time.Now())
	h.copies.Close(zap.NewNop(), time.Now())
	return errors.Join(h.Assignments.Close(), h.Plugins.Close())
}

// Offer offers a configuration. Without another one it is in effect at once.
func (h *Hub) Offer(s *Configuration) {
	if old := h.InEffect(); old != nil {
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

// TakeBack takes a configuration back, if it was offered. The first of those that remain takes effect. With the last one,
// it returns when the drain has ended.
func (h *Hub) TakeBack(s *Configuration) {
	h.StartDrain(s, h.cfg.Exiting())
	last := h.IsLast(s)
	if last {
		h.finishDrain()
	}
	h.mu.Lock()
	i := slices.Index(h.stack, s)
	if i >= 0 {
		h.setStack(slices.Delete(h.stack, i, i+1))
	}
	s.Retired.Store(true)
	h.mu.Unlock()
	if i >= 0 && !last {
		h.apply()
	}
}

// Abandon closes the connections to sites of a configuration that is given up. It may never have been offered: HTTP can start
// before the app rollcall, and take connections to hosts that no other configuration has.
func (h *Hub) Abandon(retired *atomic.Bool) {
	h.mu.Lock()
	retired.Store(true)
	var left []presence.HostName
	for name, t := range h.tenants {
		if t.site.Load().Retired == retired {
			left = append(left, name)
		}
	}
	h.mu.Unlock()
	for _, name := range left {
		h.closeHost(name)
	}
}

// IsLast reports whether s is the only configuration of the hub.
func (h *Hub) IsLast(s *Configuration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.stack) == 1 && h.stack[0] == s
}

// setStack replaces the stack. The lock is held.
func (h *Hub) setStack(stack []*Configuration) {
	h.stack = stack
	if len(stack) == 0 {
		h.inEffect.Store(nil)
		return
	}
	h.inEffect.Store(stack[0])
}

// InEffect returns the configuration in effect, nil when there is none.
func (h *Hub) InEffect() *Configuration { return h.inEffect.Load() }

// apply gives every tenant the site that the configuration in effect has for it, and closes those that it has none for.
func (h *Hub) apply() {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.mu.Lock()
	if len(h.stack) == 0 {
		h.mu.Unlock()
		return
	}
	now := h.stack[0]
	h.log.follow(now.Logger, true)
	h.mu.Unlock()
	h.Assignments.Begin(now.Cluster != nil)
	h.applyCluster(now) // before others are let in by new rules
	h.copies.Follow()

	h.mu.Lock()
	tenants := make([]*tenant, 0, len(h.tenants))
	for _, t := range h.tenants {
		tenants = append(tenants, t)
		if s := now.Find(t.name); s != nil {
			t.site.Store(s)
		}
		t.counters = h.metrics.host(now.Label(t.name))
	}
	h.mu.Unlock()

	for _, t := range tenants {
		s := now.Find(t.name)
		if s == nil {
			closed := h.closeHost(t.name)
			now.Logger.Info("host left the configuration",
				zap.Stringer("host", t.name), zap.Int("connections", closed))
			continue
		}
		h.setRules(t.name, s)
	}
}

// closeHost closes the connections of a host that is no longer served.
func (h *Hub) closeHost(name presence.HostName) int {
	host := h.Registry.Host(name)
	if host == nil {
		return 0
	}
	host.Retire() // they are not lost, so nobody waits for them to come back
	sessions := sessionsOf(host)
	for _, s := range sessions {
		s.sock.Close(socket.CloseGoingAway, "host removed", socket.Cause{Reason: socket.ReasonHost})
	}
	return len(sessions)
}

// connect makes a session of an upgraded socket. It returns errReloaded if the host's site is no longer the one that has
// judged the request.
func (h *Hub) connect(
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
		h.setRules(name, s.tenant.site.Load())
	}
	return s, nil
}

// settle gives the tenant the site that serves it now, and reports whether it may have new connections. The lock is held.
func (h *Hub) settle(t *tenant) error {
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
func (h *Hub) newSession(sock *socket.Conn, name presence.HostName, served *site.Site, client netip.Prefix) (*session, error) {
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
func (h *Hub) countersOf(name presence.HostName) *hostMetrics {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.tenants[name]; t != nil {
		return t.counters
	}
	return h.newCounters(name)
}

// SentByBackend counts a message of a backend: nil is one that was sent.
func (h *Hub) SentByBackend(host presence.HostName, err error) {
	h.countersOf(host).sent(fromBackend, codeOf(err))
}

// newCounters returns the numbers of a host that is no tenant yet. The lock is held.
func (h *Hub) newCounters(name presence.HostName) *hostMetrics {
	label := pluginhost.OtherHosts
	if len(h.stack) > 0 {
		label = h.stack[0].Label(name)
	}
	return h.metrics.host(label)
}

// disconnect takes a session out, wherever connect has got to. It returns false when it is out, or never was in.
func (h *Hub) disconnect(s *session) bool {
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
func (h *Hub) release(s *session) {
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
func (h *Hub) sessions() []*session {
	hosts := h.Registry.Hosts()
	all := make([]*session, 0, len(hosts))
	for _, host := range hosts {
		all = append(all, sessionsOf(host)...)
	}
	return all
}

// sessionsOf returns all that are connected to a host now.
func sessionsOf(host *presence.Host) []*session {
	outboxes := host.Outboxes()
	all := make([]*session, 0, len(outboxes))
	for _, out := range outboxes {
		if s, ok := out.(*session); ok {
			all = append(all, s)
		}
	}
	return all
}
