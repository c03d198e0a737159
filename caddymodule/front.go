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
	"github.com/rollcall-gateway/rollcall/caddymodule/routes"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// owner returns the site whose rules apply to a request to this handler. That is the owner of the
// host in the configuration in effect, or else in the handler's own. The handler must be a door to
// the owner in its own configuration.
func (h *Handler) owner(name presence.HostName) (*site.Site, *problem.Problem) {
	return h.ownerIf(name, func(own *site.Site) bool { return own == h.rollcall.Site })
}

// ownerIf is like owner for a handler that is a door to the sites of its own configuration of which
// leads reports true. Their owner can be nil.
func (h *Handler) ownerIf(name presence.HostName, leads func(*site.Site) bool) (*site.Site, *problem.Problem) {
	own, err := h.app.settle()
	if err != nil {
		return nil, problem.Reloaded() // the configuration does not start
	}
	before := own.Find(name)
	if !leads(before) {
		return nil, problem.Misdirected()
	}
	for {
		now := h.app.hub.InEffect()
		if now != nil && now != own {
			if s := now.Find(name); s != nil {
				return s, nil
			}
		}
		if !h.app.stopped.Load() {
			return before, nil
		}
		if now == h.app.hub.InEffect() { // otherwise it was replaced meanwhile: look again
			return nil, problem.Reloaded()
		}
	}
}

// front is a handler as the gateway and the endpoints see it.
type front Handler

// Owner implements gateway.Door and api.Door.
func (f *front) Owner(host presence.HostName) (*site.Site, *problem.Problem) {
	return (*Handler)(f).owner(host)
}

// Settings implements gateway.Door.
func (f *front) Settings() site.Settings { return f.rollcall.Settings }

// Client implements gateway.Door and api.Door.
func (f *front) Client(r *http.Request) netip.Prefix { return clientNet(clientAddr(r)) }

// Logger implements gateway.Door.
func (f *front) Logger() *zap.Logger { return f.rollcall.Site.Logger }

// CheckAddress implements api.Door. After a reload, the api_from of the configuration in effect
// applies: a request may have waited in an earlier handler, or for its body.
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
	return checkAddressNow(now.Owners.(*routes.Owners), r, (*Handler)(f))
}

// checkAddressNow refuses a request that came through a handler of another configuration, from an
// address that the doors to its host do not accept now. If some of the doors on its listener accept
// it and others do not, the door of the request is unknown.
func checkAddressNow(o *routes.Owners, r *http.Request, old *Handler) *problem.Problem {
	host, err := presence.ParseHostName(r.Host)
	doors := o.Doors(host)
	if err != nil || len(doors) == 0 {
		return nil // Owner refuses the request
	}
	var listen []string
	if server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); server != nil {
		listen = server.Listen
	} else if old.way.Server != nil {
		listen = old.way.Server.Listen
	}
	var accepting, refusing bool // doors that the request may have come to
	var by *Handler              // handler that refuses it, at any door
	for _, d := range doors {
		h := handlerAt(d)
		its, accepts := d.Prefix == old.Prefix && listensAt(d.Way.Server, listen), h.acceptsFrom(r)
		switch {
		case its && accepts:
			accepting = true
		case its:
			refusing, by = true, h
		case !accepts && !refusing:
			by = h
		}
	}
	switch {
	case by == nil || accepting && !refusing:
		return nil
	case accepting == refusing:
		return problem.Reloaded()
	}
	return by.checkAddress(r)
}

// handlerAt returns the handler that a door leads to.
func handlerAt(d *routes.Door) *Handler { return d.Handler.(*Handler) }

// listensAt reports whether a server has one of the addresses. A handler outside of the HTTP app
// has no server.
func listensAt(server *routes.Server, listen []string) bool {
	if server == nil {
		return listen == nil
	}
	return slices.ContainsFunc(server.Listen, func(addr string) bool { return slices.Contains(listen, addr) })
}

// Other implements api.Door.
func (f *front) Other(r *http.Request, of *site.Site, host presence.HostName) (*site.Site, *problem.Problem) {
	app := f.app
	if now := app.hub.InEffect(); now != nil {
		if o, ok := now.Owners.(*routes.Owners); ok && of.Retired == now.Retired {
			return other(o, r, of, host)
		}
	}
	configuration, err := app.settle()
	if err != nil || of.Retired != configuration.Retired {
		return nil, problem.Reloaded()
	}
	return other(configuration.Owners.(*routes.Owners), r, of, host)
}

// other returns the site of another host of the same block, if the client may use the endpoints
// there.
func other(o *routes.Owners, r *http.Request, of *site.Site, host presence.HostName) (*site.Site, *problem.Problem) {
	found := o.Find(host)
	if found == nil || found.Settings != of.Settings {
		return nil, problem.Misdirected()
	}
	doors := o.Doors(host)
	if !slices.ContainsFunc(doors, func(d *routes.Door) bool { return handlerAt(d).acceptsFrom(r) }) {
		return nil, handlerAt(doors[0]).checkAddress(r) // an owner has a door
	}
	return found, nil
}

var (
	_ gateway.Door = (*front)(nil)
	_ api.Door     = (*front)(nil)
)
