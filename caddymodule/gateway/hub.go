// Package gateway holds what outlives a configuration: the [Hub] with all connections, their
// tenants and their metrics.
//
// A [Configuration] is offered to the hub when it starts. It takes effect when its predecessor is
// taken back, because Caddy may give it up until then. The hub has one pointer to the
// configurations, and swapping it is the reload: requests, sessions, hosts in package presence and
// metrics look up there which site serves a host. A connection refers to its tenant, never to a
// configuration, so an old configuration can be freed.
//
// A frame passes from socket to session, presence.Host, the listeners' queues and their sockets. A
// handshake passes from [Hub.ServeSocket] to [Door], site and session. At a stop, [Hub.StartDrain]
// closes the connections.
package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	source "github.com/rollcall-gateway/rollcall/presence/events"
)

// WheelTick is the resolution of pings.
const WheelTick = 100 * time.Millisecond

// Hub holds what outlives a configuration: connections, tenants and metrics.
type Hub struct {
	cfg           Config
	Registry      *presence.Registry
	wheel         *socket.Wheel
	loop          *socket.Loop
	log           liveCore
	metrics       *metrics
	Plugins       *pluginhost.Host
	copies        *copies.Copies
	closer        *closer
	events        *events.Events
	speaker       *source.Speaker // tells events of all hosts that have receivers
	Asker         *authorize.Asker
	Tracer        tracing.Tracer // makes spans where Caddy's tracing is used
	Assignments   *assign.Keeper
	draining      atomic.Bool
	warnedOfHTTP2 oftenlog.Limit // limits warnings about handshakes over HTTP/2
	started       time.Time
	starts        starts // logins that wait for revocations

	// configs decides which site serves a host. It is never nil, and changes only under mu.
	configs atomic.Pointer[configurations]

	// cluster is nil while this pod is alone. Only the steps of clusterSteps change it.
	cluster      atomic.Pointer[joined]
	clusterSteps series
	rechange     *time.Timer                        // next try of a change of the cluster that has failed; only steps use it
	joinedOnce   atomic.Bool                        // the pod has joined a cluster since the first configuration took effect; see Starting
	endWait      atomic.Pointer[context.CancelFunc] // ends the wait of the last step that had one
	// StartPods joins a cluster. By default it starts a [cluster.Cluster]. Tests replace it before
	// they offer a configuration.
	StartPods func(cluster.Config) (Pods, error)

	// mu guards the fields below. It is never held during a call to a plugin or NATS, or during
	// I/O.
	mu      sync.Mutex
	ending  *drain // nil until Caddy stops the last configuration
	tenants map[presence.HostName]*tenant
	clients addressConns
}

// Config is what a hub needs from the process.
type Config struct {
	Folder  string      // folder of the files
	Exiting func() bool // reports whether the process is about to exit
	// Encoders are those of the protocols besides [Native], by [Protocol].Encoding - 1. None if
	// nil.
	Encoders []presence.FrameEncoder
}

// New returns a hub without connections. The caller calls [Hub.Destruct].
func New(c Config) *Hub {
	h := &Hub{
		cfg:      c,
		Registry: presence.NewRegistry(wire.Encoder{}, c.Encoders...),
		wheel:    socket.NewWheel(WheelTick),
		log:      newLiveCore(),
		closer:   newCloser(endByBackend),
		tenants:  make(map[presence.HostName]*tenant),
		started:  time.Now(),
	}
	h.configs.Store(&configurations{ended: true})
	h.StartPods = func(cfg cluster.Config) (Pods, error) {
		cfg.Assignments, cfg.Memory = h.Assignments.Book, filepath.Join(c.Folder, "cluster.db")
		cfg.Events = h.speaker
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
		Logger: h.log.named("rollcall.backend"), Tracer: &h.Tracer,
	})
	h.events = events.New(events.Config{
		Folder: filepath.Join(c.Folder, "backend"), Receivers: h.receivers, Wanted: h.hasEvents, Restart: h.restartShard,
		Name: h.nameUsers, Label: h.label, Shown: h.isShown, Logger: h.log.named("rollcall.events"), Tracer: &h.Tracer,
	})
	h.Asker = authorize.New(authorize.Config{Label: h.label, Logger: h.log.named("rollcall.authorize"), Tracer: &h.Tracer})
	h.Assignments = assign.NewKeeper(filepath.Join(c.Folder, "assignments.db"), h.Registry, isGreeted, h.log.named("rollcall.assignments"))
	h.Assignments.Book.OnRemoved(h.ForgetGrants)
	h.Assignments.Book.OnRevoked(h.tokensRevoked)
	h.Registry.OnReclassified(h.afterReclassify)
	h.Registry.KeepLast(h.cacheTTL)
	h.speaker = source.New(source.Config{
		Registry: h.Registry, Sink: h.events, Epochs: epochBook{h.Assignments}, Wanted: h.wantedEvents, Named: h.namedHosts, Logger: h.log.named("rollcall.events"),
	})
	h.Assignments.Book.OnEpoch(h.speaker.OnEpoch)
	h.Registry.OnCacheMiss(h.events.CacheMiss)
	h.metrics = newMetrics(h)
	return h
}

// LogTo sets the logger of everything that outlives a configuration. A logger of a configuration
// that is not in effect is used only until there is another.
func (h *Hub) LogTo(logger *zap.Logger, inEffect bool) { h.log.setTarget(logger, inEffect) }

// notParked logs that an idle connection cannot be parked.
func (h *Hub) notParked(err error) {
	h.log.named("rollcall").Warn(
		"the kernel cannot wait for an idle connection: it takes a goroutine until the next try", zap.Error(err))
}

// Destruct implements caddy.Destructor. Caddy calls it when no configuration has Rollcall.
func (h *Hub) Destruct() error {
	for _, s := range h.sessions() {
		s.sock.Kill()
	}
	h.wheel.Stop()
	h.loop.Stop()
	h.Asker.Close()
	// Only needed if a configuration never stopped: otherwise the drain has done it.
	h.endCluster(zap.NewNop(), time.Now())
	h.speaker.Close()
	h.copies.Close(zap.NewNop(), time.Now())
	h.events.Close(zap.NewNop(), time.Now())
	return errors.Join(h.Assignments.Close(), h.Plugins.Close())
}

// countersOf returns the counters for new connections and messages of a host.
func (h *Hub) countersOf(name presence.HostName) *hostMetrics {
	return h.metrics.host(h.label(name))
}

// SentByBackend counts a message of a backend. If err is nil, it was sent.
func (h *Hub) SentByBackend(host presence.HostName, err error) {
	h.countersOf(host).sent(fromBackend, codeOf(err))
}

// sessions returns all sessions.
func (h *Hub) sessions() []*Session {
	hosts := h.Registry.Hosts()
	all := make([]*Session, 0, len(hosts))
	for _, host := range hosts {
		all = append(all, sessionsOf(host)...)
	}
	return all
}

// sessionsOf returns the sessions of a host.
func sessionsOf(host *presence.Host) []*Session {
	outboxes := host.Outboxes()
	all := make([]*Session, 0, len(outboxes))
	for _, out := range outboxes {
		if s, ok := out.(*Session); ok {
			all = append(all, s)
		}
	}
	return all
}
