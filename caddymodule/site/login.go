package site

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// VerifyTimeout bounds how long a token may wait for the keys to be fetched.
const VerifyTimeout = 5 * time.Second

// Login is who opened a connection.
type Login struct {
	User     *presence.User // nil: anonymous
	Expires  time.Time      // zero: never
	ByCookie bool           // a browser sends it for any page, so the page's origin matters

	ByHandler bool // a handler before this one has found the user
}

// Login finds out who sent the request: the user of a handler before this one, or of a token.
func (s *Site) Login(r *http.Request) (Login, *problem.Problem) {
	header := r.Header.Get("Authorization")
	if id, email := s.User(r); id != "" {
		u := &presence.User{ID: id, Email: email}
		if err := presence.CheckUser(*u); err != nil {
			return Login{}, &problem.Problem{Status: http.StatusForbidden, Code: "bad_user", Detail: "the user is refused: " + err.Error()}
		}
		return Login{User: u, ByCookie: header == "" && r.Header.Get("Cookie") != "", ByHandler: true}, nil
	}
	if s.Verifier == nil {
		return Login{}, nil
	}
	if scheme, raw, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.loginByToken(r.Context(), strings.TrimSpace(raw), false)
	}
	if s.Cookie != "" {
		return s.loginByCookie(r)
	}
	return Login{}, nil
}

// maxCookies is the most cookies of one name whose tokens are checked.
const maxCookies = 8

// loginByCookie returns the login of the first cookie whose token is valid. A browser sends several of one name when they
// have different paths or domains, and an old one can come first.
func (s *Site) loginByCookie(r *http.Request) (Login, *problem.Problem) {
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
		who, p := s.loginByToken(ctx, cookie.Value, true)
		switch {
		case p != nil:
			failed = p
		case who.User != nil:
			return who, nil
		}
	}
	return Login{}, failed
}

// loginByToken checks a token. One in a cookie that is no longer valid makes its owner a visitor like others, who
// can authenticate later; in a header, it is an error.
func (s *Site) loginByToken(ctx context.Context, raw string, byCookie bool) (Login, *problem.Problem) {
	ctx, cancel := context.WithTimeout(ctx, VerifyTimeout)
	defer cancel()
	id, err := s.Verifier.Verify(ctx, raw)
	switch {
	case err == nil:
		return Login{User: &presence.User{ID: id.ID, Email: id.Email}, Expires: id.Expires, ByCookie: byCookie}, nil
	case errors.Is(err, token.ErrUnavailable):
		s.Logger.Debug("token cannot be checked now", zap.Error(err)) // anyone can bring this about
		return Login{}, &problem.Problem{
			Status: http.StatusServiceUnavailable, Code: "unavailable",
			Detail: "the token cannot be checked now: try again", Retry: VerifyTimeout,
		}
	case byCookie:
		s.Logger.Debug("token in a cookie refused", zap.Error(err))
		return Login{}, nil
	default:
		return Login{}, &problem.Problem{Status: http.StatusUnauthorized, Code: "bad_token", Detail: err.Error()}
	}
}
