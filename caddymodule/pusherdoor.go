package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// servePusher answers a request of the Pusher protocol. It reports false for any other request,
// which goes to the next handler: pages can be below /app/ and /apps/, too.
func (h *Handler) servePusher(w http.ResponseWriter, r *http.Request) bool {
	if !h.hasApps() || !h.servesHost(r) {
		return false
	}
	if key := h.appKey(r); key != "" {
		h.arrive(w, r)
		h.serveAppSocket(w, r, key)
		return true
	}
	id, tail, ok := h.appCall(r)
	if ok {
		h.arrive(w, r)
		h.app.pusher.Serve(w, r, id, tail, (*front)(h))
	}
	return ok
}

// servesHost reports whether the site of the handler owns the host of a request. On a listener for
// many hosts, another site can own it, whose pages have nothing to do with the apps of this one.
func (h *Handler) servesHost(r *http.Request) bool {
	own, err := h.app.settle()
	if err != nil {
		return true // Owner returns the error
	}
	name, err := presence.ParseHostName(r.Host)
	return err == nil && own.Find(name) == h.rollcall.Site
}

// appKey returns the key that a websocket handshake is for, "" for any other request.
func (h *Handler) appKey(r *http.Request) string {
	key, ok := h.cutAppPath(r.URL.Path, "/app/")
	if !ok || strings.Contains(key, "/") || !isHandshake(r) {
		return ""
	}
	return key
}

// appCall returns the ID of the app that a request of a backend is for, and the rest of its escaped
// path.
func (h *Handler) appCall(r *http.Request) (id, tail string, ok bool) {
	if _, ok := h.cutAppPath(r.URL.Path, "/apps/"); !ok { // the usual case, which needs no escaping
		return "", "", false
	}
	call, ok := h.cutAppPath(r.URL.EscapedPath(), "/apps/")
	if !ok {
		return "", "", false
	}
	id, tail, ok = strings.Cut(call, "/")
	if !ok || id == "" {
		return "", "", false
	}
	switch name, _, _ := strings.Cut(tail, "/"); name {
	case "events", "batch_events", "channels", "users", "connections":
		return id, tail, true
	}
	return "", "", false
}

// cutAppPath returns what follows a part of the path at the root of the site, or below the option
// path.
func (h *Handler) cutAppPath(path, part string) (string, bool) {
	if rest, ok := strings.CutPrefix(path, part); ok {
		return rest, true
	}
	if h.Pusher.Path == "" {
		return "", false
	}
	return strings.CutPrefix(path, h.Pusher.Path+part)
}

// isHandshake reports whether a request opens a websocket, also by HTTP/2 and HTTP/3 (RFC 8441
// section 4), where the answer says that it has to use HTTP/1.1.
func isHandshake(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return r.Header.Get(":protocol") == "websocket" || r.Proto == "websocket"
	}
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// serveAppSocket opens the websocket of a client that has sent the key of an app.
func (h *Handler) serveAppSocket(w http.ResponseWriter, r *http.Request, key string) {
	apps := new(app.Config)
	if name, err := presence.ParseHostName(r.Host); err == nil {
		if of, p := h.owner(name); p == nil && of.Pusher != nil {
			apps = of.Pusher
		}
	}
	h.openSocket(w, r, appFront{(*front)(h)}, h.app.clients.Open(r, apps, key, isSecure(r)))
}

// isSecure reports whether the client uses TLS, by what a trusted proxy says if there is one.
func isSecure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// appFront is a front for websockets that can be for the host that an app is pinned to, and not for
// the one of the request. In the configuration of the handler, both belong to the same block.
type appFront struct{ *front }

// Owner implements gateway.Door.
func (f appFront) Owner(host presence.HostName) (*site.Site, *problem.Problem) {
	return (*Handler)(f.front).ownerIf(host, func(own *site.Site) bool {
		return own != nil && own.Settings == f.rollcall.Settings
	})
}

var _ gateway.Door = appFront{}
