// Package gateway is what outlives a configuration: the [Hub] with all connections, the tenants that they belong to, and the
// numbers about them.
//
// A [Configuration] is offered to the hub when it starts, and takes effect when the one before is taken back: only then is it
// certain that it holds. The hub has one pointer to the configurations, and swapping it is the reload: requests, sessions,
// hosts in package presence and metrics look up there what holds for a host. A connection knows its tenant, never a
// configuration, so nothing of an old one lives on.
//
// A frame goes socket -> session -> presence.Host -> queues of the listeners -> sockets. A handshake goes [Hub.ServeSocket] ->
// [Door] -> site -> session. At a stop, [Hub.StartDrain] sends clients away.
package gateway

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
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

	// configs decides what holds for a host: all else looks it up there. It is never nil, and changes with mu held.
	configs atomic.Pointer[configurations]

	// cluster is nil while this pod is alone. The steps of clusterSteps change it.
	cluster      atomic.Pointer[joined]
	clusterSteps series
	// StartPods joins a cluster: by default, it starts a [cluster.Cluster]. It may be replaced before a configuration is
	// offered.
	StartPods func(cluster.Config) (Pods, error)

	// mu guards what follows. It is held for moments only, never while a plugin, NATS or a file is waited for.
	mu      sync.Mutex
	ending  *drain // nil until Caddy stops the last configuration
	tenants map[presence.HostName]*tenant
	clients addressConns
}

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
	h.configs.Store(&configurations{ended: true})
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
func (h *Hub) LogTo(logger *zap.Logger, inEffect bool) { h.log.setTarget(logger, inEffect) }

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

// countersOf returns the numbers that a host is counted in now.
func (h *Hub) countersOf(name presence.HostName) *hostMetrics {
	return h.metrics.host(h.label(name))
}

// SentByBackend counts a message of a backend: nil is one that was sent.
func (h *Hub) SentByBackend(host presence.HostName, err error) {
	h.countersOf(host).sent(fromBackend, codeOf(err))
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
