// Package operator has what operators see and do: hosts, channels and users of all pods, and
// messages, disconnects and breakers. The admin endpoints and the console pass it on.
//
// An [Operator] asks the pods through the gateway, and shows users as the plugins of their site do,
// without e-mail addresses. Actions are those of package api without a key: the caller has checked
// who asks. Nothing here gives or uses a secret.
package operator

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Errors for what a request names.
var (
	// ErrNoHost is returned for a host that no site of this pod serves.
	ErrNoHost = errors.New("no site serves this host")
	// ErrNoChannel is returned for a channel that is hidden, or has no listener on any pod.
	ErrNoChannel = errors.New("no such channel is active")
	// ErrNoPlugin is returned for a plugin that has not been used for the host on this pod.
	ErrNoPlugin = errors.New("this pod uses no such plugin for this host")
	// ErrPluginFailed is returned if a plugin that shows users failed. The failure is already
	// logged.
	ErrPluginFailed = errors.New("a plugin of this site failed: see the server's log")
)

// Pods are what an operator asks of the pods, see package gateway.
type Pods interface {
	// SiteOf returns the site that serves the host, or nil.
	SiteOf(host presence.HostName) *site.Site
	AllHosts(ctx context.Context, host presence.HostName) ([]cluster.PodHost, cluster.Truth)
	AllChannels(ctx context.Context, host presence.HostName, page presence.Page) (list []presence.Listing, next string, truth cluster.Truth)
	AllListeners(ctx context.Context, host presence.HostName, l presence.Listeners) (
		of []presence.Listing, list []cluster.PodListener, next string, truth cluster.Truth)
	ExplainAll(ctx context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth)
	// ResetBreakers closes the breakers of a plugin for a host on this pod. It returns false if it
	// has none.
	ResetBreakers(plugin, host string) bool
}

// Actor carries out actions, see [api.Server].
type Actor interface {
	Act(ctx context.Context, name string, of *site.Site, host presence.HostName, raw []byte) (api.Acted, error)
}

// Operator answers operators. Its methods are safe for concurrent use.
type Operator struct {
	pods   Pods
	actor  Actor
	logger *zap.Logger
}

// New returns an Operator that logs actions.
func New(pods Pods, actor Actor, logger *zap.Logger) *Operator {
	return &Operator{pods: pods, actor: actor, logger: logger}
}

// Truth is how complete an answer is.
type Truth struct {
	Complete bool     `json:"complete"`
	Missing  []string `json:"missing"` // pods that did not reply, as DC/POD, sorted; not nil
}

func truthOf(t cluster.Truth) Truth { return Truth{t.Complete, append([]string{}, t.Missing...)} }

// RFC3339 formats a Unix time in milliseconds, in UTC and with milliseconds.
func RFC3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
