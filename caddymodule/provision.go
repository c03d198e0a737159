package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// userOf returns the function that finds the user of a request that another handler has
// authenticated.
func (h *Handler) userOf() func(*http.Request) (presence.User, error) {
	if h.User == nil {
		return defaultUser.of
	}
	return h.User.of
}

var defaultUser = &UserPlaceholders{ID: "{http.auth.user.id}", Email: "{http.auth.user.email}"}

// of returns the user of a request, without an ID for an anonymous request. It returns an error for
// a user that cannot be one.
func (u *UserPlaceholders) of(r *http.Request) (presence.User, error) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	id := repl.ReplaceAll(u.ID, "")
	if id == "" {
		return presence.User{}, nil
	}
	user := presence.User{ID: id, Email: repl.ReplaceAll(u.Email, "")}
	var err error
	if user.Info, err = u.info(repl); err != nil {
		return user, fmt.Errorf("the info %w", err)
	}
	return user, presence.CheckUser(user)
}

// info returns the info of a request. Values that are not valid UTF-8 are refused, because
// encoding/json would change them.
func (u *UserPlaceholders) info(repl *caddy.Replacer) (string, error) {
	var info map[string]string
	for name, text := range u.Info {
		value := repl.ReplaceAll(text, "")
		if value == "" {
			continue
		}
		if !utf8.ValidString(value) {
			return "", errors.New("is not valid UTF-8")
		}
		if info == nil {
			info = make(map[string]string)
		}
		info[name] = value
	}
	if info == nil {
		return "", nil
	}
	return presence.EncodeInfo(info)
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
	if h.Authorize != nil {
		if s.Authorize, err = h.Authorize.endpoint(h.siteLogger(s)); err != nil {
			return err
		}
		s.Asker = h.app.hub.Asker
	}
	if h.Backend != nil {
		if s.Backend, err = h.Backend.endpoint(h.siteLogger(s)); err != nil {
			return err
		}
	}
	if err := h.provisionEvents(s); err != nil {
		return err
	}
	if err := h.provisionPusher(s); err != nil {
		return err
	}
	if h.plugins, err = h.loadPlugins(ctx); err != nil {
		return err
	}
	if h.plugins != nil {
		s.Chain = h.plugins.Chain()
	}
	s.Show = h.Members.show()
	if err := h.checkEffect(s); err != nil {
		return err
	}
	s.MakeRules()
	return nil
}

// checkEffect refuses options that could never have an effect, because a reader of the
// configuration would believe them. A plugin can add keys to users, and demand a grant for any
// channel.
func (h *Handler) checkEffect(s *site.Site) error {
	if len(h.Plugins) > 0 {
		return nil
	}
	for _, key := range s.Show {
		if !slices.Contains([]string{"email", "info", "status"}, key) {
			return fmt.Errorf("members: show: %q is not id, email, info or status, and no plugin could add it: correct it, or write a plugin", key)
		}
	}
	if h.Authorize != nil && len(s.Patterns.Granted) == 0 && !s.Patterns.DefaultGranted && !s.Patterns.Signed {
		return errors.New("authorize: no channel needs a grant, so the backend would never be asked: " +
			"write granted and patterns in channels, or default granted")
	}
	return nil
}

// siteLogger returns a logger that names the site.
func (h *Handler) siteLogger(s *site.Site) *zap.Logger {
	return s.Logger.With(zap.String("site", h.way.Label(h.Prefix)))
}

// apiKeysOff is the option api_key that requires no key.
const apiKeysOff = "off"

// parseAPIKeys parses the option api_key: keys, placeholders for keys, "sha256:" and the hash of a
// key in hexadecimal, or "off" alone. No error shows any part of a key.
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
			return site.Keys{}, fmt.Errorf("api_key: number %d is the word off, not a key: write off in lower case and without a placeholder", i+1)
		}
	}
	return site.NewKeys(texts)
}

// provisionJWT makes the verifier for the tokens of a site.
func (h *Handler) provisionJWT(ctx caddy.Context, s *site.Site) error {
	if h.JWT == nil {
		return nil
	}
	c := token.Config{
		JWKSURL:       h.JWT.JWKS,
		Algorithms:    h.JWT.Algorithms,
		Issuer:        h.JWT.Issuer,
		Audiences:     h.JWT.Audience,
		IDClaim:       h.JWT.IDClaim,
		EmailClaim:    h.JWT.EmailClaim,
		InfoClaim:     h.JWT.InfoClaim,
		ChannelsClaim: h.JWT.ChannelsClaim,
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
	if s.Revocation, err = h.JWT.revocation(); err != nil {
		return err
	}
	s.Verifier, err = token.New(ctx, c)
	s.Cookie, s.Revocations = h.JWT.Cookie, h.app.hub
	return err
}

// provisionRules sets the rules for channels, the limits and the pings.
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

	var err error
	if s.Patterns, err = h.Channels.patterns(); err != nil {
		return err
	}
	names := h.Members.names()
	if names < 0 {
		return errors.New("members: names is a number from 1")
	}
	s.Bounds = presence.Rules{
		MaxNames:        names,
		MaxConns:        limits.ConnectionsPerHost,
		MaxChannels:     limits.ChannelsPerConnection,
		MaxHostChannels: limits.ChannelsPerHost,
		MaxName:         limits.ChannelName,
		Grace:           grace,
	}
	return nil
}
