package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Door is the handler that received a request.
type Door interface {
	// Owner returns the site that serves the host, or the reason why this door does not lead to it.
	Owner(host presence.HostName) (*site.Site, *problem.Problem)
	// Settings returns the settings of the site that the preceding handlers belong to.
	Settings() site.Settings
	// Client returns the addresses that count as one client with the address of the request, or the
	// zero Prefix.
	Client(r *http.Request) netip.Prefix
	// Logger returns the logger of the handler.
	Logger() *zap.Logger
}

// handshake is one request for a websocket.
type handshake struct {
	hub  *Hub
	door Door
	w    http.ResponseWriter
	r    *http.Request
	how  Opening
}

// ServeSocket answers a websocket handshake. It returns when the connection has a session, with the
// ID of the connection, or with the zero ID if the handshake failed.
func (h *Hub) ServeSocket(w http.ResponseWriter, r *http.Request, by Door, how Opening) presence.ID {
	return (&handshake{h, by, w, r, how}).serve()
}

func (h *handshake) serve() (id presence.ID) {
	name, p := h.admit()
	if p != nil {
		h.reject(p)
		return id
	}
	of, who, p := h.resolve(name)
	if p != nil && !h.tellsByCode(p) {
		h.reject(p)
		return id
	}
	badLogin := p
	sock, err := socket.Upgrade(h.w, h.r, h.how.Protocol.Subprotocol(h.r))
	if err != nil {
		h.reject(problemUpgrade(err))
		return id
	}
	if refused := h.how.Refusal; refused != nil {
		h.refuseAs(sock, name, refused.Code, refused.Metric, refused.Reason, refused)
		return id
	}
	if badLogin != nil {
		h.refuse(sock, name, loginCode(badLogin), badLogin.Code, badLogin.Detail)
		return id
	}
	var s *Session
	for range maxAttempts {
		if !h.how.Protocol.Serves(of) {
			h.refuse(sock, name, socket.CloseGoingAway, "host", "host removed")
			return id
		}
		if !of.CheckOrigin(h.r, who.ByCookie) {
			h.refuse(sock, name, socket.CloseOrigin, "origin", "origin not allowed")
			return id
		}
		s, err = h.hub.connect(sock, name, of, who, h.door.Client(h.r), h.how.Protocol)
		if !errors.Is(err, errReloaded) {
			break
		}
		// Another configuration has taken effect: resolve the request by its site.
		if of, who, p = h.resolve(name); p != nil {
			break
		}
	}
	switch {
	case errors.Is(err, errDraining), errors.Is(err, errReloaded):
		h.refuse(sock, name, socket.CloseRestart, "restart", socket.RestartReason(problem.DrainRetry.Milliseconds()))
		return id
	case errors.Is(err, site.ErrJustRevoked), errors.Is(err, site.ErrRevoked):
		h.refuse(sock, name, refusalOf(err), "revoked", revokedReason)
		return id
	case errors.Is(err, site.ErrLoginRefused):
		h.refuse(sock, name, socket.CloseRefused, "plugin_denied", "refused by a plugin")
		return id
	case failedInPlugin(err):
		h.refuse(sock, name, socket.CloseUnavailable, "plugin_failed", "try again later")
		return id
	case errors.Is(err, errTooManyFromAddress):
		h.refuse(sock, name, socket.CloseRateLimited, "address", err.Error())
		return id
	case err != nil:
		h.refuse(sock, name, socket.CloseLimit, "limit", "too many connections")
		return id
	}
	id = s.conn.ID()
	s.start(who.Expires)
	return id
}

// tellsByCode reports whether a refused login is told after the handshake: some protocols promise
// their pages to see why.
func (h *handshake) tellsByCode(p *problem.Problem) bool {
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable:
		return h.how.Protocol.KnowsCodesOnly() && p.Code != problem.Reloaded().Code
	}
	return false
}

// loginCode returns the close code for a refused login.
func loginCode(p *problem.Problem) int {
	if p.Status == http.StatusServiceUnavailable {
		return socket.CloseUnavailable
	}
	return socket.CloseTokenExpired
}

// maxAttempts is how many configurations may take effect during one handshake. After that, the
// client has to reconnect.
const maxAttempts = 4

// resolve returns the site that owns the host, and the login of the request there.
func (h *handshake) resolve(name presence.HostName) (*site.Site, site.Login, *problem.Problem) {
	of, p := h.door.Owner(name)
	if p != nil {
		return nil, site.Login{}, p
	}
	who, p := of.Login(h.r, name)
	if p == nil && who.ByHandler && of.Settings != h.door.Settings() {
		p = problem.Reloaded() // the user was authenticated by the handlers of the previous site
	}
	return of, who, p
}

// admit makes the checks that need no login.
func (h *handshake) admit() (presence.HostName, *problem.Problem) {
	if h.hub.draining.Load() {
		return presence.HostName{}, problem.Draining()
	}
	if h.r.ProtoMajor > 1 {
		return presence.HostName{}, &problem.Problem{
			Status: http.StatusNotImplemented, Code: "http1_only",
			Detail: "websockets are served over HTTP/1.1 only: enable h1 in the protocols of this server",
		}
	}
	if h.r.Method != http.MethodGet {
		return presence.HostName{}, problem.MethodNotAllowed(http.MethodGet)
	}
	if h.how.Host != (presence.HostName{}) {
		return h.how.Host, nil
	}
	name, err := presence.ParseHostName(h.r.Host)
	if err != nil {
		return presence.HostName{}, problem.BadHost()
	}
	return name, nil
}

func problemUpgrade(err error) *problem.Problem {
	if failed, ok := errors.AsType[*socket.UpgradeError](err); ok {
		return &problem.Problem{Status: failed.Status, Code: "bad_handshake", Detail: failed.Reason}
	}
	return &problem.Problem{Status: http.StatusBadRequest, Code: "bad_handshake", Detail: "the handshake failed"}
}

// reject answers a handshake with an HTTP error.
func (h *handshake) reject(p *problem.Problem) {
	h.hub.metrics.rejected.WithLabelValues(p.Code).Inc()
	level := zap.DebugLevel
	if p.Status == http.StatusNotImplemented && h.hub.mayWarnOfHTTP2() {
		level = zap.WarnLevel // the operator can change that, and sees it nowhere else
	}
	if c := h.door.Logger().Check(level, "websocket handshake rejected"); c != nil {
		c.Write(zap.String("host", ShownHost(h.r)), zap.String("proto", h.r.Proto), zap.Int("status", p.Status),
			zap.String("code", p.Code), zap.String("detail", p.Detail))
	}
	p.Write(h.w)
}

// http2Pause is the minimum time between two warnings of websockets over HTTP/2 and HTTP/3: any
// client can cause one.
const http2Pause = time.Minute

// mayWarnOfHTTP2 reports whether a warning about a handshake over HTTP/2 or HTTP/3 is due.
func (h *Hub) mayWarnOfHTTP2() bool {
	_, ok := h.warnedOfHTTP2.Allow(http2Pause)
	return ok
}

// refuse closes the connection with a code, because a browser shows no HTTP status to its page.
func (h *handshake) refuse(sock *socket.Conn, name presence.HostName, code int, metric, reason string) {
	h.refuseAs(sock, name, code, metric, reason, h.how.Protocol)
}

func (h *handshake) refuseAs(sock *socket.Conn, name presence.HostName, code int, metric, reason string, by socket.Translator) {
	h.hub.metrics.rejected.WithLabelValues(metric).Inc()
	if c := h.door.Logger().Check(zap.DebugLevel, "websocket refused"); c != nil {
		c.Write(zap.Stringer("host", name), zap.Int("code", code), zap.String("reason", metric))
	}
	sock.Refuse(code, reason, by)
}
