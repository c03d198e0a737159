package caddymodule

import (
	"net/http"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// owner returns the site whose rules hold for a request to this handler: the one that owns the host in the configuration
// in effect, where it owns it at all, if this handler is a door to the owner in its own configuration.
func (h *Handler) owner(name presence.HostName) (*site.Site, *problem.Problem) {
	own, err := h.app.settle()
	if err != nil {
		return nil, problem.Reloaded() // the configuration does not start
	}
	if own.Find(name) != h.site {
		return nil, problem.Misdirected()
	}
	if now := h.app.hub.InEffect(); now != nil && now != own {
		if s := now.Find(name); s != nil {
			return s, nil
		}
	}
	if h.app.stopped.Load() {
		return nil, problem.Reloaded()
	}
	return h.site, nil
}

// front is a handler as requests come in by it: what the gateway and the endpoints ask of it.
type front Handler

// Owner implements gateway.Door and api.Door.
func (f *front) Owner(host presence.HostName) (*site.Site, *problem.Problem) {
	return (*Handler)(f).owner(host)
}

// Settings implements gateway.Door.
func (f *front) Settings() site.Settings { return f.settings }

// Client implements gateway.Door and api.Door.
func (f *front) Client(r *http.Request) netip.Prefix { return clientNet(clientAddr(r)) }

// Logger implements gateway.Door.
func (f *front) Logger() *zap.Logger { return f.site.Logger }

// CheckAddress implements api.Door.
func (f *front) CheckAddress(r *http.Request) *problem.Problem { return (*Handler)(f).checkAddress(r) }

// Other implements api.Door.
func (f *front) Other(r *http.Request, of *site.Site, host presence.HostName) (*site.Site, *problem.Problem) {
	app := f.app
	if now := app.hub.InEffect(); now != nil {
		if o, ok := now.Owners.(*owners); ok && of.Retired == now.Retired {
			return o.other(r, of, host)
		}
	}
	configuration, err := app.settle()
	if err != nil || of.Retired != configuration.Retired {
		return nil, problem.Reloaded()
	}
	return configuration.Owners.(*owners).other(r, of, host)
}

// other returns the site of a host of the same block, if the client may use the endpoints there.
func (o *owners) other(r *http.Request, of *site.Site, host presence.HostName) (*site.Site, *problem.Problem) {
	claim := o.claimOn(host)
	if claim == nil || claim.site.Settings != of.Settings {
		return nil, problem.Misdirected()
	}
	if !slices.ContainsFunc(claim.doors, func(d *door) bool { return d.handler.takesFrom(r) }) {
		return nil, claim.doors[0].handler.checkAddress(r) // a claim has a door
	}
	return claim.site, nil
}

var (
	_ gateway.Door = (*front)(nil)
	_ api.Door     = (*front)(nil)
)
