package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenBytes bounds a token before any of it is decoded.
const maxTokenBytes = 8 << 10

var (
	// ErrInvalid is returned when a token is not one that the site accepts: malformed, signed by another key or with
	// another algorithm, or with claims that are missing or wrong.
	ErrInvalid = errors.New("invalid token")

	// ErrExpired is returned when a token would be accepted but for its age. It is an ErrInvalid too.
	ErrExpired = fmt.Errorf("%w: expired", ErrInvalid)

	// ErrUnavailable is returned when a token cannot be judged now: no key set could be fetched, or its key is unknown
	// and may be newer than the last fetch. The same token may be good a little later.
	ErrUnavailable = errors.New("key set unavailable")
)

// Identity is who a token speaks of.
type Identity struct {
	// ID is the user's id: 1 to 256 bytes of UTF-8 without control characters.
	ID string

	// Email is the user's e-mail, at most 320 bytes. It is "" when the token has none.
	Email string

	// Expires is the token's exp, from when on Verify refuses it. It is zero when the token has no exp.
	Expires time.Time
}

// Verifier verifies the tokens of one site. It is safe for concurrent use, and shares nothing with other
// Verifiers.
type Verifier struct {
	allowed    []algorithm
	keys       keySource
	parser     *jwt.Parser
	idClaim    string
	emailClaim string
}

// Inherit has v begin with the keys that another Verifier of the same site fetched from the same URL: a reload then
// needs no fetch before the next log-in, and can do without the issuer. It changes nothing when v has keys, or when
// either has another kind of them. Verifiers of different sites must not inherit from each other.
func (v *Verifier) Inherit(from *Verifier) {
	to, ok := v.keys.(*remoteKeys)
	if !ok {
		return
	}
	if old, ok := from.keys.(*remoteKeys); ok {
		to.inherit(old)
	}
}

// Verify returns who raw, a token in compact form (RFC 7515 section 3.1), speaks of.
//
// With a key set it may wait up to 5 s, or until ctx is done, for keys that are being fetched. It does not wait
// otherwise.
//
// # Errors
//
// The error is an ErrInvalid, ErrExpired or ErrUnavailable. Its text is fit for a log and for the client: it has the
// reason, and nothing of the token.
func (v *Verifier) Verify(ctx context.Context, raw string) (Identity, error) {
	if len(raw) > maxTokenBytes {
		return Identity{}, invalid(fmt.Sprintf("longer than %d bytes", maxTokenBytes))
	}
	if !isCompact(raw) {
		return Identity{}, invalid("malformed")
	}

	var c claims
	t, err := v.parser.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		// RFC 7515 section 4.1.11: no extension is understood here, so that none may be critical.
		if _, ok := t.Header["crit"]; ok {
			return nil, errCritical
		}
		return v.keys.find(ctx, t)
	})
	if err != nil {
		return Identity{}, v.failure(t, err)
	}
	who, err := v.identity(&c)
	if err != nil {
		return Identity{}, invalid(err.Error())
	}
	// The parser allows for clocks that differ, for exp as well. A log-in that is over is over.
	if !who.Expires.IsZero() && !time.Now().Before(who.Expires) {
		return Identity{}, ErrExpired
	}
	return who, nil
}

// isCompact reports whether s has only base64url characters and dots. The decoder skips line breaks, so that
// without this one token had many spellings.
func isCompact(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

var (
	errCritical   = errors.New("critical header")
	errUnknownKey = errors.New("unknown key")
	errNoKeyFits  = fmt.Errorf("%w: none verifies the token", errUnknownKey)
	errKeyID      = errors.New("bad key id")
)

// reasons says in fixed words what the JWT library and the keys found wrong: their own texts quote the token.
// Expiry is last, so that ErrExpired means that nothing else is wrong.
var reasons = []struct {
	err  error
	text string
}{
	{errCritical, "it has a crit header, and no extension is supported"},
	{errNoKeyFits, "it has no key id, and no key of the key set fits its signature"},
	{errUnknownKey, "the key set has no key with its key id and algorithm"},
	{errKeyID, "its key id is not a string"},
	{errClaimsUTF8, errClaimsUTF8.Error()},
	{jwt.ErrTokenMalformed, "malformed"},
	{jwt.ErrTokenUnverifiable, "no configured key fits"},
	{jwt.ErrTokenSignatureInvalid, "the signature does not match"},
	{errDate, errDate.Error()},
	{jwt.ErrInvalidType, "a registered claim has the wrong type"},
	{jwt.ErrTokenRequiredClaimMissing, "iss or aud is missing"},
	{jwt.ErrTokenInvalidIssuer, "another issuer"},
	{jwt.ErrTokenInvalidAudience, "another audience"},
	{jwt.ErrTokenNotValidYet, "not valid yet (nbf)"},
	{jwt.ErrTokenUsedBeforeIssued, "issued in the future (iat): compare the clocks"},
}

// failure turns an error of the parser into one of ours. t is nil only for a malformed token.
func (v *Verifier) failure(t *jwt.Token, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable
	}
	// The library has one error for a signature and an algorithm that are wrong; an operator fixes them in
	// different places.
	if !errors.Is(err, jwt.ErrTokenMalformed) && !v.allows(t.Method) {
		return invalid("its algorithm is not one of " + joinNames(v.allowed))
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return invalid(r.text)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return ErrExpired
	}
	return invalid("not accepted")
}

// allows reports whether a token may be signed with m, which is nil for a method that is not known at all.
func (v *Verifier) allows(m jwt.SigningMethod) bool {
	if m == nil {
		return false
	}
	for _, a := range v.allowed {
		if a.name == m.Alg() {
			return true
		}
	}
	return false
}

func invalid(reason string) error {
	return fmt.Errorf("%w: %s", ErrInvalid, reason)
}
