package caddymodule

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/console"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/rest"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// App has the settings that all sites of this pod share: its name in the deployment, and how it
// stops.
type App struct {
	// The name of the data center that this pod runs in: a key in the answer of /message/allusers.
	// 1 to 64 letters, digits, '.', '-' and '_'; `_total` is refused. Placeholders are allowed.
	// Default: `local`.
	DataCenter string `json:"data_center,omitempty"`

	// The name of this pod within its data center, with the same rules. Default: the host name.
	Pod string `json:"pod,omitempty"`

	// The time that clients have at exit to leave, before their connections are cut. Default: `3s`.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// The maximum memory of the instances of all plugins together, in bytes, up to 1099511627776
	// (1TiB). Default: 1073741824 (1GiB).
	PluginMemory int64 `json:"plugin_memory,omitempty"`

	// How this pod forms one deployment with others. Default: none, the pod is alone.
	Cluster *ClusterConfig `json:"cluster,omitempty"`

	ctx      caddy.Context
	logger   *zap.Logger
	hub      *gateway.Hub // kept after Cleanup, for requests that are still running
	api      *api.Server  // kept likewise
	pusher   *rest.Server // kept likewise
	clients  *pusher.Clients
	console  *console.Server // kept likewise
	held     bool            // the App has a reference to the process
	snapshot *gateway.Configuration
	watcher  *pluginhost.Watcher // nil if no file is watched
	cluster  *gateway.ClusterSettings
	stopped  atomic.Bool                            // withdrawn from the hub
	settle   func() (*gateway.Configuration, error) // calls settleOwners once; HTTP can serve before this app starts

	// mu guards the state that belongs to this configuration.
	mu       sync.Mutex
	handlers []*Handler
	consoles []*Console
	ways     *wayFinder // nil before the first handler, and once the owners are settled
	owners   *routes.Owners
	settled  bool                       // handlers are no longer accepted
	prepared map[*caddyhttp.Server]bool // servers that have a handler
	doorLog  *zap.Logger                // logger of all handlers; nil before the first
}

const (
	defaultDrainTimeout = 3 * time.Second
	defaultPluginMemory = 1 << 30
	maxPluginMemory     = 1 << 40
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "rollcall",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets the defaults and takes a reference to the hub.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	a.settle = sync.OnceValues(a.settleOwners)
	a.owners = a.newOwners()
	if err := a.resolveNames(); err != nil {
		return err
	}
	if a.DataCenter == "" {
		a.DataCenter = "local"
	}
	if a.Pod == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("finding the host name, set pod instead: %w", err)
		}
		a.Pod = name
	}
	if a.DrainTimeout == 0 {
		a.DrainTimeout = caddy.Duration(defaultDrainTimeout)
	}
	if a.PluginMemory == 0 {
		a.PluginMemory = defaultPluginMemory
	}
	p, err := openProcess()
	if err != nil {
		return err
	}
	a.hub, a.api, a.pusher, a.clients, a.console, a.held = p.Hub, p.api, p.pusher, p.clients, p.console, true
	a.hub.LogTo(a.logger, false)
	if err := a.provisionCluster(); err != nil {
		return err
	}
	if err := a.subscribeStop(); err != nil {
		return err
	}
	return p.register(ctx.GetMetricsRegistry())
}

// resolveNames replaces placeholders. An unset variable is an error: with the default in its place,
// all data centers would be one. Validate refuses braces that remain.
func (a *App) resolveNames() error {
	for option, name := range map[string]*string{"data_center": &a.DataCenter, "pod": &a.Pod} {
		k := newKnown(option)
		if *name = k.replace(*name); k.err != nil {
			return k.err
		}
	}
	return nil
}

func (a *App) provisionCluster() error {
	if a.Cluster == nil {
		return nil
	}
	var err error
	if a.cluster, err = a.Cluster.settings(a.DataCenter, a.Pod); err != nil {
		return err
	}
	if n := len(a.cluster.Secret); n > 0 && n < recommendedSecret {
		a.logger.Warn("the secret of the cluster is short and can be guessed: make one with openssl rand -hex 32",
			zap.Int("characters", n), zap.Int("recommended", recommendedSecret))
	}
	return nil
}

// Validate refuses names that would be misread in an answer or a header.
func (a *App) Validate() error {
	const rule = "use 1 to 64 letters, digits, '.', '-' and '_'"
	if !validName(a.DataCenter) {
		return fmt.Errorf("data_center %q: %s", a.DataCenter, rule)
	}
	if !validName(a.Pod) {
		return fmt.Errorf("pod %q: %s", a.Pod, rule)
	}
	if a.DataCenter == cluster.Total {
		return fmt.Errorf("data_center %q is the name of the sum in /message/allusers: choose another", a.DataCenter)
	}
	if a.DrainTimeout < 0 {
		return fmt.Errorf("drain_timeout %s: use a positive duration", time.Duration(a.DrainTimeout))
	}
	if a.PluginMemory < 0 || a.PluginMemory > maxPluginMemory {
		return fmt.Errorf("plugin_memory %d: use a size up to 1TiB", a.PluginMemory)
	}
	return nil
}

// handlerLogger returns the logger of all handlers, made from the context of the first one. Caddy
// would make a logger for each.
func (a *App) handlerLogger(ctx caddy.Context) *zap.Logger {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.doorLog == nil {
		a.doorLog = ctx.Logger()
	}
	return a.doorLog
}

// add makes a handler part of this configuration.
func (a *App) add(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers = append(a.handlers, h)
}

func validName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return s != "" && len(s) <= 64 && strings.Trim(s, allowed) == ""
}

// Start offers this configuration to the hub. It takes effect when the previous one stops, at once
// if there is none: until then, Caddy may still discard it.
func (a *App) Start() error {
	http, err := a.ctx.App("http")
	if err != nil {
		return fmt.Errorf("finding the sites that rollcall serves: %w", err)
	}
	if a.snapshot, err = a.settle(); err != nil {
		return err
	}
	a.snapshot.ShutdownDelay = time.Duration(http.(*caddyhttp.App).ShutdownDelay)
	if err := a.hub.TryPlugins(a.ctx, a.snapshot); err != nil {
		return err
	}
	if err := a.hub.CheckCluster(a.cluster); err != nil {
		return err
	}
	a.hub.Offer(a.snapshot)
	a.watcher = a.hub.WatchPlugins(a.ctx, a.snapshot)
	return nil
}

// Stop ends this configuration without waiting. If another configuration has started, it takes
// effect. Otherwise this one stays in effect until Cleanup, because HTTP may still serve its sites.
// Then Stop only starts the drain, if the event has not started it.
func (a *App) Stop() error {
	if a.snapshot == nil {
		return nil
	}
	a.hub.StartDrain(a.snapshot, caddy.Exiting()) // before the watcher stops, which may be reading a file
	a.watcher.Stop()
	if !a.hub.IsLast(a.snapshot) {
		a.hub.TakeBack(a.snapshot)
	}
	return nil
}

// Cleanup waits for the drain of the last configuration, at most for the drain timeout, and
// releases the reference to the hub. Caddy calls it after the Stop of every app. It calls it
// without Stop when it discards a configuration late.
func (a *App) Cleanup() error {
	if !a.held {
		return nil
	}
	a.held = false
	a.watcher.Stop()
	if a.snapshot != nil {
		a.hub.TakeBack(a.snapshot)
	}
	a.hub.Abandon(&a.stopped)
	return closeProcess()
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

// subscribeStop subscribes to the event that Caddy emits before it stops any app. Stop alone can
// come too late, because Caddy stops its apps in no order, and HTTP waits for open connections. The
// event is experimental, and a handler of another module can block or abort it, so Stop starts the
// drain too.
func (a *App) subscribeStop() error {
	events, err := a.ctx.App("events")
	if err != nil {
		return fmt.Errorf("finding Caddy's events: %w", err)
	}
	if err := events.(*caddyevents.App).On("stopping", stopHandler{a}); err != nil {
		return fmt.Errorf("subscribing to the stop of Caddy: %w", err)
	}
	return nil
}

// stopHandler starts the drain. It is a type of its own because Caddy's debug log prints a handler
// as JSON, and an App has secrets.
type stopHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (s stopHandler) Handle(context.Context, caddy.Event) error {
	if s.app.snapshot != nil {
		s.app.hub.StartDrain(s.app.snapshot, caddy.Exiting())
	}
	return nil
}

var _ caddyevents.Handler = stopHandler{}
