package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// serveSocket answers a websocket handshake, and returns when the connection has a session of its own.
func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request) {
	name, p := h.admit(r)
	if p != nil {
		h.reject(w, r, p)
		return
	}
	site, who, p := h.judge(r, name)
	if p != nil {
		h.reject(w, r, p)
		return
	}
	sock, err := socket.Upgrade(w, r)
	if err != nil {
		h.reject(w, r, problemUpgrade(err))
		return
	}
	var s *session
	for range maxJudgements {
		if !site.checkOrigin(r, who.byCookie) {
			h.refuse(sock, name, socket.CloseOrigin, "origin", "origin not allowed")
			return
		}
		s, err = h.app.hub.connect(sock, name, site, who.user, clientNet(clientAddr(r)))
		if !errors.Is(err, errReloaded) {
			break
		}
		// Another configuration has taken effect since the request was judged, so its site judges it again.
		if site, who, p = h.judge(r, name); p != nil {
			break
		}
	}
	switch {
	case errors.Is(err, errDraining), errors.Is(err, errReloaded):
		h.refuse(sock, name, socket.CloseRestart, "restart", socket.RestartReason(drainRetry.Milliseconds()))
		return
	case errors.Is(err, errTooManyFromAddress):
		h.refuse(sock, name, socket.CloseRateLimited, "address", err.Error())
		return
	case err != nil:
		h.refuse(sock, name, socket.CloseLimit, "limit", "too many connections")
		return
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.String("rollcall_connection", s.conn.ID().String()))
	}
	s.begin(who.expires)
}

// maxJudgements is how many configurations may take effect during one handshake. After that, the client comes again.
const maxJudgements = 4

// judge returns the site that owns the host, and the login that the request has there.
func (h *Handler) judge(r *http.Request, name presence.HostName) (*site, login, *problem) {
	site, p := h.owner(name)
	if p != nil {
		return nil, login{}, p
	}
	who, p := site.login(r)
	if p == nil && who.byHandler && site.settings != h.settings {
		p = problemReloaded() // the handlers before this one have authenticated for the site of before
	}
	return site, who, p
}

// admit checks what can be answered with an HTTP status before it is known who asks.
func (h *Handler) admit(r *http.Request) (presence.HostName, *problem) {
	if h.app.hub.draining.Load() {
		return presence.HostName{}, problemDraining()
	}
	if r.Method == http.MethodConnect || r.ProtoMajor > 1 {
		return presence.HostName{}, &problem{
			status: http.StatusNotImplemented, code: "http1_only",
			detail: "websockets are served over HTTP/1.1 only: enable h1 in the protocols of this server",
		}
	}
	if r.Method != http.MethodGet {
		return presence.HostName{}, problemMethod(http.MethodGet)
	}
	name, err := presence.ParseHostName(r.Host)
	if err != nil {
		return presence.HostName{}, problemBadHost()
	}
	return name, nil
}

func problemUpgrade(err error) *problem {
	if failed, ok := errors.AsType[*socket.UpgradeError](err); ok {
		return &problem{status: failed.Status, code: "bad_handshake", detail: failed.Reason}
	}
	return &problem{status: http.StatusBadRequest, code: "bad_handshake", detail: "the handshake failed"}
}

// reject answers a handshake with an HTTP error.
func (h *Handler) reject(w http.ResponseWriter, r *http.Request, p *problem) {
	h.app.hub.metrics.rejected.WithLabelValues(p.code).Inc()
	level := zap.DebugLevel
	if p.status == http.StatusNotImplemented {
		level = zap.WarnLevel // the operator can change that, and nobody else sees it
	}
	if c := h.site.logger.Check(level, "websocket handshake rejected"); c != nil {
		c.Write(zap.String("host", r.Host), zap.String("proto", r.Proto), zap.Int("status", p.status),
			zap.String("code", p.code), zap.String("detail", p.detail))
	}
	p.write(w)
}

// refuse closes a connection with a code, for a browser shows its page no HTTP status.
func (h *Handler) refuse(sock *socket.Conn, name presence.HostName, code int, metric, reason string) {
	h.app.hub.metrics.rejected.WithLabelValues(metric).Inc()
	if c := h.site.logger.Check(zap.DebugLevel, "websocket refused"); c != nil {
		c.Write(zap.Stringer("host", name), zap.Int("code", code), zap.String("reason", metric))
	}
	sock.Refuse(code, reason)
}

// login is who opened a connection.
type login struct {
	user     *presence.User // nil: anonymous
	expires  time.Time      // zero: never
	byCookie bool           // a browser sends it for any page, so the page's origin matters

	byHandler bool // a handler before this one has found the user
}

// login finds out who sent the request: the user of a handler before this one, or of a token.
func (s *site) login(r *http.Request) (login, *problem) {
	header := r.Header.Get("Authorization")
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if id := repl.ReplaceAll(s.user.ID, ""); id != "" {
		u := &presence.User{ID: id, Email: repl.ReplaceAll(s.user.Email, "")}
		if err := token.CheckUser(u.ID, u.Email); err != nil {
			return login{}, &problem{status: http.StatusForbidden, code: "bad_user", detail: "the user is refused: " + err.Error()}
		}
		return login{user: u, byCookie: header == "" && r.Header.Get("Cookie") != "", byHandler: true}, nil
	}
	if s.verifier == nil {
		return login{}, nil
	}
	if scheme, raw, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.loginByToken(r.Context(), strings.TrimSpace(raw), false)
	}
	if s.cookie != "" {
		return s.loginByCookie(r)
	}
	return login{}, nil
}

// maxCookies is the most cookies of one name whose tokens are checked.
const maxCookies = 8

// loginByCookie returns the login of the first cookie whose token is valid. A browser sends several of one name when they
// have different paths or domains, and an old one can come first.
func (s *site) loginByCookie(r *http.Request) (login, *problem) {
	ctx, cancel := context.WithTimeout(r.Context(), verifyTimeout)
	defer cancel()
	var failed *problem
	tried := 0
	for _, cookie := range r.CookiesNamed(s.cookie) {
		if cookie.Value == "" {
			continue
		}
		if tried++; tried > maxCookies {
			break
		}
		who, p := s.loginByToken(ctx, cookie.Value, true)
		switch {
		case p != nil:
			failed = p
		case who.user != nil:
			return who, nil
		}
	}
	return login{}, failed
}

// loginByToken checks a token. One in a cookie that is not valid any longer makes its owner a visitor like others, who
// can authenticate later; in a header, it is an error.
func (s *site) loginByToken(ctx context.Context, raw string, byCookie bool) (login, *problem) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	id, err := s.verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		return login{user: &presence.User{ID: id.ID, Email: id.Email}, expires: id.Expires, byCookie: byCookie}, nil
	case errors.Is(err, token.ErrUnavailable):
		s.logger.Debug("token cannot be checked now", zap.Error(err)) // anyone can bring this about
		return login{}, &problem{
			status: http.StatusServiceUnavailable, code: "unavailable",
			detail: "the token cannot be checked now: try again", retry: verifyTimeout,
		}
	case byCookie:
		s.logger.Debug("token in a cookie refused", zap.Error(err))
		return login{}, nil
	default:
		return login{}, &problem{status: http.StatusUnauthorized, code: "bad_token", detail: err.Error()}
	}
}
