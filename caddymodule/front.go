package caddymodule

import (
	"net/http"
	"net/netip"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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

// CheckAddress implements api.Door. After a reload the api_from of the configuration in effect counts: a request may have
// waited in a handler before this one, or for its body.
func (f *front) CheckAddress(r *http.Request) *problem.Problem {
	if !f.app.stopped.Load() {
		if p := (*Handler)(f).checkAddress(r); p != nil {
			return p
		}
	}
	now := f.app.hub.InEffect()
	if now == nil || now.Retired == &f.app.stopped {
		return nil
	}
	return now.Owners.(*owners).checkAddress(r, (*Handler)(f))
}

// checkAddress refuses a request that came by a handler of another configuration, from an address that the doors to its
// host do not take now. If some of those on its listener take it and others do not, nobody knows which is the request's.
func (o *owners) checkAddress(r *http.Request, old *Handler) *problem.Problem {
	host, err := presence.ParseHostName(r.Host)
	claim := o.claimOn(host)
	if err != nil || claim == nil {
		return nil // Owner refuses it
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil {
		server = old.way.server
	}
	var taking, refusing bool // doors that the request can have come to
	var by *Handler           // that refuses it, at any door
	for _, d := range claim.doors {
		its, takes := d.handler.Prefix == old.Prefix && d.way.listensLike(server), d.handler.takesFrom(r)
		switch {
		case its && takes:
			taking = true
		case its:
			refusing, by = true, d.handler
		case !takes && !refusing:
			by = d.handler
		}
	}
	switch {
	case by == nil || taking && !refusing:
		return nil
	case taking == refusing:
		return problem.Reloaded()
	}
	return by.checkAddress(r)
}

// listensLike reports whether the server of a way has an address in common with one of another configuration.
func (w *way) listensLike(server *caddyhttp.Server) bool {
	if w.server == nil || server == nil {
		return w.server == server
	}
	return slices.ContainsFunc(w.server.Listen, func(addr string) bool { return slices.Contains(server.Listen, addr) })
}

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
