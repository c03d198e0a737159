package caddymodule

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Maxima of options.
const (
	maxUserInfo        = presence.MaxInfo
	maxEventSize       = presence.MaxMessage
	maxBatchSize       = 100
	maxClientEvents    = 1000
	maxActivityTimeout = time.Hour
	maxAppText         = 128 // bytes of an ID or a key
	maxPresenceMembers = 1_000_000
)

// pusher resolves the options of the block that are not secret.
func (r *resolver) pusher(p *Pusher) {
	for i, a := range p.Apps {
		if a == nil {
			continue // an error, see Pusher.apps
		}
		option := numbered("pusher: app", i)
		r.text(option+": id", &a.ID)
		r.text(option+": key", &a.Key)
		r.text(option+": host", &a.Host)
	}
	r.text("pusher: path", &p.Path)
	r.text("pusher: terminate", &p.Terminate)
	r.text("pusher: private_channels", &p.PrivateChannels)
	r.text("pusher: email_field", &p.EmailField)
	for i, w := range p.Webhooks {
		if w != nil {
			r.texts(numbered("pusher: webhook", i)+": events", w.Events)
		}
	}
}

// hasApps reports whether the handler serves the Pusher protocol.
func (h *Handler) hasApps() bool { return h.Pusher != nil }

// endpoints returns the endpoints of the handler, once checkPusher has checked the options.
func (h *Handler) endpoints() routes.Endpoints {
	e := routes.Endpoints{Prefix: h.Prefix}
	if h.hasApps() {
		e.AppID, e.AppKey, e.AppPath = h.Pusher.Apps[0].ID, h.Pusher.Apps[0].Key, h.Pusher.Path
	}
	return e
}

// checkPusher refuses what cannot be an app or a path.
func (h *Handler) checkPusher() error {
	p := h.Pusher
	if p == nil {
		return nil
	}
	if len(p.Apps) == 0 {
		return errors.New("pusher: no app: write app ID KEY SECRET")
	}
	for i, a := range p.Apps {
		if err := a.check(numbered("pusher: app", i)); err != nil {
			return err
		}
	}
	if p.Path != "" && (p.Path != path.Clean(p.Path) || !strings.HasPrefix(p.Path, "/") || p.Path == "/") {
		return fmt.Errorf("pusher: path %q: write it like /pusher", p.Path)
	}
	return nil
}

func (a *PusherApp) check(option string) error {
	switch {
	case a == nil:
		return fmt.Errorf("%s is null: write an ID, a key and a secret", option)
	case !isAppText(a.ID):
		return fmt.Errorf("%s: its ID is no text for a path: use 1 to %d letters, digits, '.', '-' and '_'", option, maxAppText)
	case !isAppText(a.Key):
		return fmt.Errorf("%s: its key is no text for a path: use 1 to %d letters, digits, '.', '-' and '_'", option, maxAppText)
	}
	return nil
}

// isAppText reports whether a text can be an ID or a key. A colon ends a key in a signature.
func isAppText(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return s != "" && len(s) <= maxAppText && strings.Trim(s, allowed) == "" && s != "." && s != ".."
}

// pinApps makes the site the owner of the hosts that its apps name.
func (h *Handler) pinApps() error {
	if !h.hasApps() {
		return nil
	}
	for i, a := range h.Pusher.Apps {
		if a.Host == "" {
			continue
		}
		name, err := presence.ParseHostName(a.Host)
		if err != nil {
			return fmt.Errorf("%s: its host %q is no host name: write one like tenant.example.com", numbered("pusher: app", i), a.Host)
		}
		h.app.mu.Lock()
		err = h.app.owners.Pin(a.ID, name, &h.rollcall)
		h.app.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// provisionPusher sets the apps of a site.
func (h *Handler) provisionPusher(s *site.Site) error {
	if !h.hasApps() {
		return nil
	}
	p, c := h.Pusher, app.Defaults()
	var err error
	if c.Apps, err = p.apps(h.siteLogger(s)); err != nil {
		return err
	}
	if err := p.setLimits(&c); err != nil {
		return err
	}
	c.SubscriptionCount, c.Watchlist, c.TLSOnly, c.Path = p.SubscriptionCount, p.Watchlist, p.TLSOnly, p.Path
	if p.EmailField != "" {
		c.EmailField = p.EmailField
	}
	if p.Terminate != "" && p.Terminate != terminateMembers {
		return fmt.Errorf("pusher: terminate: unknown word %q: use %s", p.Terminate, terminateMembers)
	}
	c.TerminateMembers = p.Terminate != ""
	switch p.PrivateChannels {
	case "", "count":
	case "users":
		s.Patterns.PrivateUsers = true
	default:
		return fmt.Errorf("pusher: private_channels: unknown word %q: use count or users", p.PrivateChannels)
	}
	if err := h.Channels.checkSigned(); err != nil {
		return err
	}
	s.Pusher, s.Patterns.Signed = &c, true
	s.Bounds.SubscriptionCount, s.Bounds.Watchlist = c.SubscriptionCount, c.Watchlist
	return h.provisionWebhooks(s)
}

// apps returns the apps, each ID once. No error shows any part of a secret.
func (p *Pusher) apps(logger *zap.Logger) ([]app.App, error) {
	var apps []app.App
	byID := make(map[string]int)     // index in apps
	byKey := make(map[string]string) // IDs
	for i, a := range p.Apps {
		option := numbered("pusher: app", i)
		secret, err := resolveKey(option+": secret", a.Secret)
		if err != nil {
			return nil, err
		}
		if len(secret) < app.MinSecret {
			logger.Warn("the secret of an app is short and can be guessed: make one with openssl rand -hex 32",
				zap.String("app", a.ID), zap.Int("bytes", len(secret)), zap.Int("recommended", 2*app.MinSecret))
		}
		if secret == a.Key {
			return nil, fmt.Errorf("%s: its secret is its key, which every client knows: write another one", option)
		}
		// A variable without a value is no word at all, so the host takes the place of the secret.
		if a.Host == "" && isHost(secret) {
			return nil, fmt.Errorf("%s: its secret is a host name, which everybody knows: is a variable in this line unset? Write ID KEY SECRET HOST", option)
		}
		if other, there := byKey[a.Key]; there {
			return nil, fmt.Errorf("%s: its key is there already, for app %s: a key has one app and one secret", option, other)
		}
		byKey[a.Key] = a.ID
		var host presence.HostName
		if a.Host != "" {
			if host, err = presence.ParseHostName(a.Host); err != nil {
				return nil, fmt.Errorf("%s: its host: %w", option, err)
			}
		}
		at, there := byID[a.ID]
		if !there {
			at = len(apps)
			byID[a.ID] = at
			apps = append(apps, app.App{ID: a.ID, Host: host})
		}
		if apps[at].Host != host {
			return nil, fmt.Errorf("%s: app %s has another host in another line: write the same in both, because an app has one host", option, a.ID)
		}
		apps[at].Keys = append(apps[at].Keys, app.Key{Key: a.Key, Secret: []byte(secret)})
	}
	return apps, nil
}

// isHost reports whether a text reads like the name of a host. Names of random letters have no dot.
func isHost(text string) bool {
	_, err := presence.ParseHostName(text)
	return err == nil && (text == "localhost" || strings.Contains(text, "."))
}

// setLimits sets the numbers, sizes and durations that are configured.
func (p *Pusher) setLimits(c *app.Config) error {
	c.ClientEvents = p.ClientEvents != 0
	if c.ClientEvents {
		c.ClientEventsPerSecond = float64(p.ClientEvents)
	}
	for _, n := range []struct {
		option      string
		value, most int64
		to          *int // nil if it is set already
	}{
		{"user_info", p.UserInfo, maxUserInfo, &c.UserInfo},
		{"event_size", p.EventSize, maxEventSize, &c.EventSize},
		{"batch_size", int64(p.BatchSize), maxBatchSize, &c.BatchSize},
		{"presence_members", int64(p.PresenceMembers), maxPresenceMembers, &c.PresenceMembers},
		{"client_events", int64(p.ClientEvents), maxClientEvents, nil},
	} {
		if n.value < 0 || n.value > n.most {
			return fmt.Errorf("pusher: %s %d: use a number from 1 to %d", n.option, n.value, n.most)
		}
		if n.value != 0 && n.to != nil {
			*n.to = int(n.value)
		}
	}
	if d := time.Duration(p.ActivityTimeout); d != 0 {
		if d < time.Second || d > maxActivityTimeout || d%time.Second != 0 {
			return fmt.Errorf("pusher: activity_timeout %s: use whole seconds up to %s", d, maxActivityTimeout)
		}
		c.ActivityTimeout = d
	}
	if d := time.Duration(p.CacheTTL); d != 0 {
		if d < 0 || d > c.CacheTTL {
			return fmt.Errorf("pusher: cache_ttl %s: use a duration up to %s", d, c.CacheTTL)
		}
		c.CacheTTL = d
	}
	return nil
}

// warnOfHosts warns of an app that has other channels by each name of a site with several: backends
// often ask by another name than browsers do, and their events would get lost.
func (a *App) warnOfHosts(of *site.Site) {
	if of.Pusher == nil {
		return
	}
	names := 0
	for _, pattern := range a.owners.HostsOf(of).Patterns() {
		if hostpattern.IsName(pattern) {
			names++
		}
	}
	for i := range of.Pusher.Apps {
		if id := of.Pusher.Apps[i].ID; names > 1 && of.Pusher.Apps[i].Host == (presence.HostName{}) {
			of.Logger.Warn("an app without a host has other channels for each host of its site: write the host that browsers ask after the secret",
				zap.String("app", id), zap.Int("hosts", names))
		}
	}
}
