package site

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// VerifyTimeout limits how long the verification of a token may wait for keys to be fetched.
const VerifyTimeout = 5 * time.Second

// Login is the user that opens a connection.
type Login struct {
	User     *presence.User   // nil if anonymous
	Grants   *presence.Grants // what a token grants; nil for nothing
	Expires  time.Time        // zero if it never expires
	Token    string           // token that logged the user in; "" if none did
	Issued   int64            // iat of the token, see token.Identity.Issued; 0 if not by a token
	ByCookie bool             // a browser sends the cookie for any page, so the origin must be checked

	ByHandler bool // a preceding handler has authenticated the user
}

// Login returns the user of a request to the host: the user that a preceding handler has
// authenticated, or the user of a token.
func (s *Site) Login(r *http.Request, host presence.HostName) (Login, *problem.Problem) {
	header := r.Header.Get("Authorization")
	user, err := s.User(r)
	switch {
	case err != nil:
		return Login{}, &problem.Problem{Status: http.StatusForbidden, Code: "bad_user", Detail: "the user is refused: " + err.Error()}
	case user.ID != "":
		return Login{User: &user, ByCookie: header == "" && r.Header.Get("Cookie") != "", ByHandler: true}, nil
	}
	if s.Verifier == nil {
		return Login{}, nil
	}
	if scheme, raw, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.loginByToken(r.Context(), strings.TrimSpace(raw), host, false)
	}
	if s.Cookie != "" {
		return s.loginByCookie(r, host)
	}
	return Login{}, nil
}

// maxCookies is how many cookies of one name are checked.
const maxCookies = 8

// loginByCookie returns the login of the first cookie with a valid token. A browser sends several
// cookies of one name if they have different paths or domains, and an old one can be first.
func (s *Site) loginByCookie(r *http.Request, host presence.HostName) (Login, *problem.Problem) {
	ctx, cancel := context.WithTimeout(r.Context(), VerifyTimeout)
	defer cancel()
	var failed *problem.Problem
	tried := 0
	for _, cookie := range r.CookiesNamed(s.Cookie) {
		if cookie.Value == "" {
			continue
		}
		if tried++; tried > maxCookies {
			break
		}
		who, p := s.loginByToken(ctx, cookie.Value, host, true)
		switch {
		case p != nil:
			failed = p
		case who.User != nil:
			return who, nil
		}
	}
	return Login{}, failed
}

// loginByToken verifies a token. An invalid token in a cookie makes the connection anonymous, and
// it can authenticate later. In a header, it is an error.
func (s *Site) loginByToken(
	ctx context.Context, raw string, host presence.HostName, byCookie bool,
) (Login, *problem.Problem) {
	ctx, cancel := context.WithTimeout(ctx, VerifyTimeout)
	defer cancel()
	id, err := s.Verify(ctx, raw, host)
	switch {
	case err == nil:
		return Login{User: &presence.User{ID: id.ID, Email: id.Email, Info: id.Info}, Grants: id.Grants, Token: raw, Expires: id.Expires, Issued: id.Issued, ByCookie: byCookie}, nil
	case Temporary(err):
		s.Logger.Debug("token cannot be checked now", zap.Error(err)) // any client can cause this
		return Login{}, problemTemporary(err)
	case byCookie:
		s.Logger.Debug("token in a cookie refused", zap.Error(err))
		return Login{}, nil
	default:
		return Login{}, &problem.Problem{Status: http.StatusUnauthorized, Code: "bad_token", Detail: err.Error()}
	}
}

// badGrantsPause is the minimum time between two warnings about claims that grant nothing: any user
// with such a token can cause them.
const badGrantsPause = time.Minute

// Verify returns the user of a token, see [token.Verifier.Verify]. The site must have a Verifier.
// Right after the start of this pod, or of its serving the host, it waits for the revocations of
// others.
//
// In addition to the errors of a Verifier, it returns ErrRevoked, ErrJustRevoked and ErrStarting.
func (s *Site) Verify(ctx context.Context, raw string, host presence.HostName) (token.Identity, error) {
	id, err := s.Verifier.Verify(ctx, raw, host.String())
	if err != nil {
		return id, err
	}
	if s.Revocations != nil && s.Revocations.AwaitRevocations(ctx, host, s.Clustered) != nil {
		return token.Identity{}, ErrStarting
	}
	if err := s.CheckRevoked(host, id.ID, id.Issued); err != nil {
		return token.Identity{}, err
	}
	if id.BadGrants != nil {
		if skipped, ok := s.badGrants.Allow(badGrantsPause); ok {
			s.Logger.Warn("a token grants no channels", zap.Stringer("host", host), zap.String("claim", s.Verifier.ChannelsClaim()),
				zap.Int("skipped", skipped), zap.Error(id.BadGrants))
		}
	}
	return id, nil
}
