package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
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
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Handler serves a site's websockets at {prefix}/socket, answers who is connected at {prefix}/users and
// {prefix}/allusers and which channels are active at {prefix}/channels, sends what a backend has to say at
// {prefix}/sendmessage, keeps who is assigned to what by {prefix}/adduser and {prefix}/removeuser, and serves the script
// for browsers at {prefix}/client.js. All else goes to the next handler.
//
// What it knows is scoped to the domain host of the request; hosts never see each other.
type Handler struct {
	// The path below which the endpoints are. Default: `/message`.
	Prefix string `json:"prefix,omitempty"`

	// The keys that open the endpoints: several, so that they can be rotated. Each is the key, a placeholder for it, or
	// `sha256:` and its hash in hexadecimal. `off` alone opens the endpoints to everybody. Default: none, which opens
	// them to nobody.
	APIKey []string `json:"api_key,omitempty"`

	// The client addresses that may use the endpoints: addresses, ranges in CIDR notation, and `private_ranges`, in any
	// order. Default: all.
	APIFrom []string `json:"api_from,omitempty"`

	// Other origins whose pages may open websockets, like `https://app.example.com` or `https://*.example.com`; `*` is
	// every origin. Default: only the host itself.
	Origins []string `json:"origins,omitempty"`

	// Where the user of an authenticated request is found.
	User *UserPlaceholders `json:"user,omitempty"`

	// Which tokens log a connection in. Default: none.
	JWT *JWT `json:"jwt,omitempty"`

	// What kind a channel is.
	Channels *Channels `json:"channels,omitempty"`

	// WebAssembly modules that decide what a channel is, who may join it, and what answers show, in the order in which
	// they are asked. Default: none.
	Plugins []*PluginConfig `json:"plugins,omitempty"`

	// Where messages are copied to that are sent in the modes listen and receive. Default: nowhere.
	Backend *Backend `json:"backend,omitempty"`

	// How dead connections are found.
	Ping *Ping `json:"ping,omitempty"`

	// How long a user whose last connection was lost stays in presence frames, up to `2m`: one who is back by then never
	// went. 0 is not at all. Default: `3s`.
	Grace *caddy.Duration `json:"grace,omitempty"`

	// What clients may use.
	Limits *Limits `json:"limits,omitempty"`

	app      *App
	way      *routes.Way
	rollcall routes.Rollcall
	apiFrom  *apiFrom        // nil: every address may use the endpoints
	made     *site.Site      // of this handler alone; nil if site was there before
	plugins  *pluginhost.Set // of made, nil without any
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

// Provision makes the handler a door to its hosts, and a site of the configuration if it is the first to it.
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
	if err := routes.CheckPaths(h.way, h.Prefix); err != nil {
		return err
	}
	if err := h.provisionAPIFrom(ctx); err != nil {
		return err
	}
	h.app.prepare(ctx)
	h.rollcall = routes.Rollcall{Prefix: h.Prefix, InNamed: h.way.Named, Settings: h.newSettings(), Handler: h}
	made := true
	if h.way.Named {
		h.rollcall.Site = h.app.newSite(h.rollcall.Settings) // its hosts are known when the app starts
	} else {
		var err error
		if made, err = h.app.enter(h, h.way); err != nil {
			return err
		}
	}
	logger := h.app.handlerLogger(ctx)
	if err := h.checkReach(h.way, logger); err != nil || !made {
		return err
	}
	h.made = h.rollcall.Site
	h.made.Logger = logger
	return h.provisionSite(ctx, h.made)
}

// checkReach looks for what keeps requests from the handler on a way to it.
func (h *Handler) checkReach(w *routes.Way, logger *zap.Logger) error {
	h.app.mu.Lock()
	defer h.app.mu.Unlock()
	return routes.CheckReach(w, h.Prefix, h.APIFrom != nil, logger)
}

// userOf returns what finds the user of a request that another handler has authenticated.
func (h *Handler) userOf() func(*http.Request) (id, email string) {
	if h.User == nil {
		return defaultUser.of
	}
	return h.User.of
}

var defaultUser = &UserPlaceholders{ID: "{http.auth.user.id}", Email: "{http.auth.user.email}"}

// of returns the user of a request, "" for an anonymous one.
func (u *UserPlaceholders) of(r *http.Request) (id, email string) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if id = repl.ReplaceAll(u.ID, ""); id == "" {
		return "", ""
	}
	return id, repl.ReplaceAll(u.Email, "")
}

// provisionSite makes the site of the handler's configuration.
func (h *Handler) provisionSite(ctx caddy.Context, s *site.Site) error {
	var err error
	s.User = h.userOf()
	if s.Keys, err = parseAPIKeys(h.APIKey); err != nil {
		return err
	}
	if len(h.APIKey) == 0 {
		h.siteLogger(s).Warn("no api_key: the endpoints answer 401; write a key, or off to open them")
	}
	for _, text := range h.Origins {
		o, err := site.ParseOrigin(text)
		if err != nil {
			return err
		}
		s.Origins = append(s.Origins, o)
	}
	if err := h.provisionJWT(ctx, s); err != nil {
		return err
	}
	if err := h.provisionRules(s); err != nil {
		return err
	}
	if h.Backend != nil {
		if s.Backend, err = h.Backend.endpoint(h.siteLogger(s)); err != nil {
			return err
		}
	}
	if h.plugins, err = h.loadPlugins(ctx); err != nil {
		return err
	}
	if h.plugins != nil {
		s.Chain = h.plugins.Chain()
	}
	s.MakeRules()
	return nil
}

// siteLogger returns a logger that names the site.
func (h *Handler) siteLogger(s *site.Site) *zap.Logger {
	return s.Logger.With(zap.String("site", h.way.Label(h.Prefix)))
}

// apiKeysOff stands in place of keys to ask for none.
const apiKeysOff = "off"

// parseAPIKeys reads what the configuration gives: keys, placeholders for keys, "sha256:" and the hash of a key in
// hexadecimal, or "off" alone. No error shows any part of a key.
func parseAPIKeys(configured []string) (site.Keys, error) {
	if slices.Contains(configured, apiKeysOff) {
		if len(configured) > 1 {
			return site.Keys{}, errors.New("api_key: off stands alone, remove it or the keys")
		}
		return site.OpenKeys(), nil
	}
	texts := make([]string, len(configured))
	for i, text := range configured {
		var err error
		if texts[i], err = resolveKey(numbered("api_key", i), text); err != nil {
			return site.Keys{}, err
		}
		if strings.EqualFold(texts[i], apiKeysOff) {
			return site.Keys{}, fmt.Errorf("api_key: number %d is the word off, and no key: write off in lower case and without a placeholder", i+1)
		}
	}
	return site.NewKeys(texts)
}

// provisionJWT makes what verifies the tokens of a site.
func (h *Handler) provisionJWT(ctx caddy.Context, s *site.Site) error {
	if h.JWT == nil {
		return nil
	}
	c := token.Config{
		JWKSURL:    h.JWT.JWKS,
		Algorithms: h.JWT.Algorithms,
		Issuer:     h.JWT.Issuer,
		Audience:   h.JWT.Audience,
		IDClaim:    h.JWT.IDClaim,
		EmailClaim: h.JWT.EmailClaim,
	}
	if c.JWKSURL != "" {
		logger := h.siteLogger(s)
		c.Logger = func(msg string, err error) {
			if err == nil {
				logger.Info(msg)
				return
			}
			logger.Error(msg, zap.Error(err))
		}
	}
	if err := h.JWT.readKey(&c); err != nil {
		return err
	}
	if n := len(c.Secret); n > 0 && n < token.MinSecret {
		h.siteLogger(s).Warn("the jwt secret is short and can be guessed: make one with openssl rand -hex 32",
			zap.Int("bytes", n), zap.Int("recommended", token.MinSecret))
	}
	var err error
	s.Verifier, err = token.New(ctx, c)
	s.Cookie = h.JWT.Cookie
	return err
}

// provisionRules makes the rules for channels, the limits and the pings.
func (h *Handler) provisionRules(s *site.Site) error {
	var limits Limits
	if h.Limits != nil {
		limits = *h.Limits
	}
	limits.setDefaults()
	if min(limits.ChannelsPerConnection, limits.ChannelsPerHost, limits.ChannelName, limits.ConnectionsPerHost,
		limits.ConnectionsPerAddress, limits.FramesPerSecond) < 0 {
		return errors.New("limits: use positive numbers")
	}
	if limits.ChannelName > presence.MaxChannelName {
		return fmt.Errorf("limits: channel_name is at most %d", presence.MaxChannelName)
	}
	const least, most = 1 << 10, 1 << 30
	if min(limits.Frame, limits.Queue) < least || max(limits.Frame, limits.Queue) > most {
		return errors.New("limits: frame and queue are sizes from 1KiB to 1GiB")
	}
	s.Limits = site.Limits{
		Frame:           limits.Frame,
		Queue:           int(limits.Queue),
		FramesPerSecond: float64(limits.FramesPerSecond),
		Channels:        limits.ChannelsPerConnection,
		PerAddress:      limits.ConnectionsPerAddress,
	}

	s.Ping = site.Pings{Interval: defaultPingInterval}
	if h.Ping != nil && h.Ping.Interval != 0 {
		s.Ping.Interval = time.Duration(h.Ping.Interval)
	}
	s.Ping.Timeout = s.Ping.Interval + defaultPingGrace
	if h.Ping != nil && h.Ping.Timeout != 0 {
		s.Ping.Timeout = time.Duration(h.Ping.Timeout)
	}
	if s.Ping.Interval < gateway.WheelTick || s.Ping.Timeout <= s.Ping.Interval {
		return fmt.Errorf("ping %s %s: the interval is at least %s, and the timeout is longer",
			s.Ping.Interval, s.Ping.Timeout, gateway.WheelTick)
	}

	grace := defaultGrace
	if h.Grace != nil {
		grace = time.Duration(*h.Grace)
	}
	if grace < 0 || grace > maxGrace {
		return fmt.Errorf("grace %s: use a duration up to %s, or off", grace, maxGrace)
	}

	s.Patterns.Default = presence.Authenticated
	if h.Channels != nil {
		s.Patterns.Authenticated, s.Patterns.Anonymous = h.Channels.Authenticated, h.Channels.Anonymous
		if h.Channels.Default != "" {
			var err error
			if s.Patterns.Default, err = presence.ParseKind(h.Channels.Default); err != nil {
				return fmt.Errorf("channels: default: %w", err)
			}
		}
	}
	s.Bounds = presence.Rules{
		MaxConns:        limits.ConnectionsPerHost,
		MaxChannels:     limits.ChannelsPerConnection,
		MaxHostChannels: limits.ChannelsPerHost,
		MaxName:         limits.ChannelName,
		Grace:           grace,
	}
	return nil
}

// Cleanup gives the plugins back. Requests that are under way go on with them.
func (h *Handler) Cleanup() error {
	if h.plugins == nil {
		return nil
	}
	return h.plugins.Release()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	name, ok := strings.CutPrefix(r.URL.Path, h.Prefix)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	// HTTP can start before this app, when the sites of handlers are not final yet. Owner returns the error.
	_, _ = h.app.settle()
	if h.app.stopped.Load() && r.ProtoMajor < 3 {
		// The client goes to the server of the configuration in effect then: net/http closes, or sends GOAWAY by HTTP/2. In
		// HTTP/3 the header is an error (RFC 9114 section 4.2).
		w.Header().Set("Connection", "close")
	}
	switch name {
	case "/socket":
		h.serveSocket(w, r)
	case "/client.js", "/client.d.ts":
		api.ServeClient(w, r, name)
	default:
		if endpoint, ok := strings.CutPrefix(name, "/"); !ok || !h.app.api.Serve(w, r, endpoint, (*front)(h)) {
			return next.ServeHTTP(w, r)
		}
	}
	return nil
}

func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request) {
	id := h.app.hub.ServeSocket(w, r, (*front)(h))
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
