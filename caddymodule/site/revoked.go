package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Revocations has the tokens that backends have revoked.
type Revocations interface {
	// AwaitRevocations waits until this pod knows all revocations of the host, at most for some
	// seconds after its start and after it has begun to serve the host. clustered says whether
	// other pods may know more. It returns the error of the context if that ends before.
	AwaitRevocations(ctx context.Context, host presence.HostName, clustered bool) error
	// Revoked reports whether a token of the user is revoked, and since when, see
	// [assignment.Book.Revoked].
	Revoked(host presence.HostName, user string, issued int64) (since time.Duration, revoked bool)
}

// Errors of tokens that a [token.Verifier] accepts.
var (
	// ErrRevoked is returned for a token that was revoked a while ago. It is a token.ErrInvalid.
	ErrRevoked = fmt.Errorf("%w: revoked", token.ErrInvalid)
	// ErrJustRevoked is returned for a token that was revoked in the last seconds.
	ErrJustRevoked = errors.New("the tokens of this user were revoked just now")
	// ErrStarting is returned for a token while this pod does not know all revocations.
	ErrStarting = errors.New("this pod has just started and does not know which tokens are revoked")
)

// justRevoked is how long a refusal is temporary. A client that was disconnected may be allowed to
// come back, and does so before it has a newer token. It would end at bad_token.
const justRevoked = 10 * time.Second

// CheckRevoked returns ErrRevoked or ErrJustRevoked for a token that was issued then, see
// [token.Identity.Issued].
func (s *Site) CheckRevoked(host presence.HostName, user string, issued int64) error {
	if s.Revocations == nil {
		return nil
	}
	since, revoked := s.Revocations.Revoked(host, user, issued)
	switch {
	case !revoked:
		return nil
	case since < justRevoked:
		return ErrJustRevoked
	}
	return ErrRevoked
}

// Temporary reports whether a token that is refused with the error may be accepted later, or a
// newer one now.
func Temporary(err error) bool {
	return errors.Is(err, token.ErrUnavailable) || errors.Is(err, ErrJustRevoked) || errors.Is(err, ErrStarting)
}

// problemTemporary is the answer to a handshake with a token that is refused for now.
func problemTemporary(err error) *problem.Problem {
	p := &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: "unavailable",
		Detail: "the token cannot be checked now: try again", Retry: VerifyTimeout,
	}
	if errors.Is(err, ErrJustRevoked) {
		p.Detail, p.Retry = ErrJustRevoked.Error()+": try again with a newer one", time.Second
	}
	return p
}
