package caddymodule

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Handler serves a site. Below the prefix, socket is the websocket and client.js the script for
// browsers. Backends use the other endpoints: users, allusers and channels list who is connected,
// sendmessage sends a message, adduser and removeuser change assignments, online says who is there,
// and leave and disconnect end memberships and connections. Other requests go to the next handler.
//
// Everything is scoped to the host of the request; hosts never see each other.
type Handler struct {
	// The path prefix of the endpoints. Default: `/message`.
	Prefix string `json:"prefix,omitempty"`

	// The keys that open the endpoints; with several, they can be rotated. Each is the key, a
	// placeholder for it, or `sha256:` and its hash in hexadecimal. `off` alone opens the endpoints
	// to everybody. Default: none, the endpoints are closed.
	APIKey []string `json:"api_key,omitempty"`

	// The client addresses that may use the endpoints: addresses, ranges in CIDR notation, and
	// `private_ranges`, in any order. Default: all.
	APIFrom []string `json:"api_from,omitempty"`

	// Other origins whose pages may open websockets, like `https://app.example.com` or
	// `https://*.example.com`; `*` is every origin. Default: only the host itself.
	Origins []string `json:"origins,omitempty"`

	// The placeholders with the user of a request that is already authenticated.
	User *UserPlaceholders `json:"user,omitempty"`

	// The tokens that log a connection in. Default: none.
	JWT *JWT `json:"jwt,omitempty"`

	// The kinds of channels.
	Channels *Channels `json:"channels,omitempty"`

	// What clients see of each other.
	Members *Members `json:"members,omitempty"`

	// WebAssembly modules that decide about logins, channels, joins and messages, and change what
	// answers and browsers show, in the order in which they are called. Default: none.
	Plugins []*PluginConfig `json:"plugins,omitempty"`

	// The backend that is asked whether a user may join a channel that needs a grant. Default:
	// none.
	Authorize *Authorize `json:"authorize,omitempty"`

	// The backend that messages in the modes listen and receive are copied to. Default: none.
	Backend *Backend `json:"backend,omitempty"`

	// The receivers of events about who comes and goes. Default: none.
	Events []*Events `json:"events,omitempty"`

	// The apps of clients and backends that speak the Pusher protocol. Default: none.
	Pusher *Pusher `json:"pusher,omitempty"`

	// How dead connections are found.
	Ping *Ping `json:"ping,omitempty"`

	// The grace period: how long a user whose last connection was lost stays in presence frames, up
	// to `2m`. A user who returns in time was never gone. 0 is no grace period. Default: `3s`.
	Grace *caddy.Duration `json:"grace,omitempty"`

	// The limits for clients.
	Limits *Limits `json:"limits,omitempty"`

	app      *App
	way      *routes.Way
	rollcall routes.Rollcall
	apiFrom  *apiFrom        // nil if every address may use the endpoints
	made     *site.Site      // site that this handler made; nil if it existed before
	plugins  *pluginhost.Set // plugins of made; nil for none
}

const (
	defaultPrefix       = "/message"
	defaultPingInterval = 25 * time.Second
	defaultPingGrace    = 10 * time.Second
	defaultGrace        = 3 * time.Second
	maxGrace            = 2 * time.Minute
)

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.rollcall",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision makes the handler a door to its hosts. The first door makes the site.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("rollcall")
	if err != nil {
		return fmt.Errorf("loading the rollcall app: %w", err)
	}
	h.app = app.(*App)
	h.way = h.app.findWay(ctx)
	unset := h.resolve()
	if h.Prefix == "" {
		h.Prefix = defaultPrefix
	}
	if unset != nil {
		return fmt.Errorf("%s: %w", h.way.Label(h.Prefix), unset)
	}
	if err := h.provision(ctx); err != nil {
		return fmt.Errorf("%s: %w", h.way.Label(h.Prefix), err)
	}
	h.app.add(h)
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	if h.Prefix != path.Clean(h.Prefix) || !strings.HasPrefix(h.Prefix, "/") || h.Prefix == "/" {
		return fmt.Errorf("prefix %q: write it like /message", h.Prefix)
	}
	if err := h.checkPusher(); err != nil {
		return err
	}
	if err := routes.CheckPaths(h.way, h.endpoints()); err != nil {
		return err
	}
	if err := h.provisionAPIFrom(ctx); err != nil {
		return err
	}
	h.app.prepare(ctx)
	h.rollcall = routes.Rollcall{Endpoints: h.endpoints(), InNamed: h.way.Named, Settings: h.newSettings(), Options: h.options, Handler: h}
	made := true
	if h.way.Named {
		h.rollcall.Site = h.app.newSite(h.rollcall.Settings) // its hosts are known when the app starts
	} else {
		var err error
		if made, err = h.app.enter(h, h.way); err != nil {
			return err
		}
	}
	if err := h.pinApps(); err != nil {
		return err
	}
	logger := h.app.handlerLogger(ctx)
	if err := h.checkReach(h.way, logger); err != nil || !made {
		return err
	}
	h.made = h.rollcall.Site
	h.made.Logger, h.made.Assigned = logger, h.app.hub.Assignments
	return h.provisionSite(ctx, h.made)
}

// checkReach looks for what keeps requests from the handler on a way to it.
func (h *Handler) checkReach(w *routes.Way, logger *zap.Logger) error {
	h.app.mu.Lock()
	defer h.app.mu.Unlock()
	h.rollcall.ReachApps(w)
	return h.rollcall.CheckReach(w, h.APIFrom != nil, logger)
}

// reachApps looks for what keeps requests of the Pusher protocol from the handler on a way to it.
func (h *Handler) reachApps(w *routes.Way) {
	h.app.mu.Lock()
	defer h.app.mu.Unlock()
	h.rollcall.ReachApps(w)
}

// Cleanup releases the plugins. Requests that are running keep using them.
func (h *Handler) Cleanup() error {
	if h.plugins == nil {
		return nil
	}
	return h.plugins.Release()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !h.serveNative(w, r) && !h.servePusher(w, r) {
		return next.ServeHTTP(w, r)
	}
	return nil
}

// serveNative answers a request below the prefix. It reports false for a path that is no endpoint.
func (h *Handler) serveNative(w http.ResponseWriter, r *http.Request) bool {
	name, ok := strings.CutPrefix(r.URL.Path, h.Prefix)
	if !ok {
		return false
	}
	h.arrive(w, r)
	if name == "/socket" {
		h.openSocket(w, r, (*front)(h), gateway.Opening{Protocol: gateway.Native{}})
		return true
	}
	if api.ServeFile(w, r, name) {
		return true
	}
	endpoint, ok := strings.CutPrefix(name, "/")
	return ok && h.app.api.Serve(w, r, endpoint, (*front)(h))
}

// arrive prepares for a request to an endpoint.
func (h *Handler) arrive(w http.ResponseWriter, r *http.Request) {
	// HTTP can start before this app, when the sites of handlers are not final yet. Owner returns
	// the error.
	_, _ = h.app.settle()
	if h.app.stopped.Load() && r.ProtoMajor < 3 {
		// The client then connects to the server of the configuration in effect: net/http closes
		// the connection, or sends GOAWAY by HTTP/2. In HTTP/3 the header is an error (RFC 9114
		// section 4.2).
		w.Header().Set("Connection", "close")
	}
}

func (h *Handler) openSocket(w http.ResponseWriter, r *http.Request, by gateway.Door, how gateway.Opening) {
	_, span := h.app.hub.Tracer.FromRequest(r.Context(), "handshake")
	id := h.app.hub.ServeSocket(w, r, by, how)
	if span != nil {
		name, _ := presence.ParseHostName(r.Host) // zero for a text that is no host, which is refused
		status, failure := http.StatusSwitchingProtocols, ""
		if id == (presence.ID{}) {
			status, failure = 0, "refused" // with a status, or with a close code
		}
		span.End(name.String(), status, failure)
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok && id != (presence.ID{}) {
		extra.Set(zap.String("rollcall_connection", id.String()))
	}
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)
