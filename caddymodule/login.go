package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// verifyTimeout bounds how long a token may wait for the keys to be fetched.
const verifyTimeout = 5 * time.Second

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
	if id, email := s.user(r); id != "" {
		u := &presence.User{ID: id, Email: email}
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
