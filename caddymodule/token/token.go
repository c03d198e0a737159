package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/presence"
)

// maxTokenBytes is the maximum size of a token, checked before any of it is decoded.
const maxTokenBytes = 8 << 10

var (
	// ErrInvalid is returned for a token that the site does not accept: malformed, signed with
	// another key or algorithm, or with missing or wrong claims.
	ErrInvalid = errors.New("invalid token")

	// ErrExpired is returned for a token that would be accepted if it had not expired. It is an
	// ErrInvalid, too.
	ErrExpired = fmt.Errorf("%w: expired", ErrInvalid)

	// ErrUnavailable is returned for a token that cannot be verified now: no key set could be
	// fetched, or the token's key is unknown and may be newer than the last fetch. The same token
	// may be accepted later.
	ErrUnavailable = errors.New("key set unavailable")
)

// Identity is the user that a token identifies.
type Identity struct {
	// ID is the user's ID: 1 to 256 bytes of UTF-8 without control characters.
	ID string

	// Email is the user's e-mail, at most 320 bytes; "" if the token has none.
	Email string

	// Info is the user's info in compact form, see presence.CompactInfo; "" if the token has none.
	Info string

	// Grants is what the token grants; nil for nothing.
	Grants *presence.Grants

	// BadGrants is why the claim with channels grants nothing; nil if it is missing or well-formed.
	BadGrants error

	// Issued is the token's iat in Unix seconds; NotIssued if the token has none.
	Issued int64

	// Expires is the token's exp, from which on Verify refuses it; zero if the token has none.
	Expires time.Time
}

// NotIssued is [Identity.Issued] of a token that does not say when it was issued, or in 1970.
const NotIssued = -1

// Verifier verifies the tokens of one site. It is safe for concurrent use, and shares nothing with
// other Verifiers.
type Verifier struct {
	allowed       []algorithm
	keys          keySource
	parser        *jwt.Parser
	idClaim       string
	emailClaim    string
	infoClaim     string
	channelsClaim string
	issuer        string   // "" for any; can have Host
	audiences     []string // none for any; can have Host
}

// Inherit copies the keys that another Verifier of the same site fetched from the same URL. So a
// reload needs no fetch, and no reachable issuer, before the next login. Inherit does nothing if v
// has keys, or if one of the two has no key set. Verifiers of different sites must not inherit from
// each other.
func (v *Verifier) Inherit(from *Verifier) {
	to, ok := v.keys.(*remoteKeys)
	if !ok {
		return
	}
	if old, ok := from.keys.(*remoteKeys); ok {
		to.inherit(old)
	}
}

// ChannelsClaim returns the name of the claim with the channels that a token grants.
func (v *Verifier) ChannelsClaim() string { return v.channelsClaim }

// Verify returns the user of raw, a token in compact form (RFC 7515 section 3.1). host is the
// canonical name of the host that the user logs in to.
//
// With a key set, it may wait up to 5 s, or until ctx is done, for keys that are being fetched.
// Otherwise, it does not block.
//
// # Errors
//
// The error is an ErrInvalid, ErrExpired or ErrUnavailable. Its text is fit for a log and for the
// client: it has the reason, and nothing from the token.
func (v *Verifier) Verify(ctx context.Context, raw, host string) (Identity, error) {
	if len(raw) > maxTokenBytes {
		return Identity{}, invalid(fmt.Sprintf("longer than %d bytes", maxTokenBytes))
	}
	if !isCompact(raw) {
		return Identity{}, invalid("malformed")
	}

	c := claims{verifier: v, host: host}
	t, err := v.parser.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		// RFC 7515 section 4.1.11: no extension is supported, so none may be critical.
		if _, ok := t.Header["crit"]; ok {
			return nil, errCritical
		}
		return v.keys.find(ctx, t)
	})
	if err != nil {
		return Identity{}, v.failure(t, err)
	}
	user, err := v.identity(&c)
	if err != nil {
		return Identity{}, invalid(err.Error())
	}
	// The parser's leeway covers exp, too. A login must not outlive it.
	if !user.Expires.IsZero() && !time.Now().Before(user.Expires) {
		return Identity{}, ErrExpired
	}
	return user, nil
}

// isCompact reports whether s has only base64url characters and dots. The decoder skips line
// breaks, so that otherwise one token would have many spellings.
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

// reasons are fixed texts for errors of the JWT library and of key sources, because the library's
// texts quote the token. Expiry is not among them but comes last, so that ErrExpired means that
// nothing else is wrong.
var reasons = []struct {
	err  error
	text string
}{
	{errCritical, "it has a crit header, and no extension is supported"},
	{errNoKeyFits, "it has no key ID, and no key of the key set fits its signature"},
	{errUnknownKey, "the key set has no key with its key ID and algorithm"},
	{errKeyID, "its key ID is not a string"},
	{errClaimsUTF8, errClaimsUTF8.Error()},
	{jwt.ErrTokenMalformed, "malformed"},
	{jwt.ErrTokenUnverifiable, "no configured key fits"},
	{jwt.ErrTokenSignatureInvalid, "the signature does not match"},
	{errDate, errDate.Error()},
	{jwt.ErrInvalidType, "a registered claim has the wrong type"},
	{jwt.ErrTokenRequiredClaimMissing, "iss or aud is missing"},
	{jwt.ErrTokenInvalidIssuer, "iss is not the configured issuer"},
	{jwt.ErrTokenInvalidAudience, "aud has none of the configured audiences"},
	{jwt.ErrTokenNotValidYet, "not valid yet (nbf)"},
	{jwt.ErrTokenUsedBeforeIssued, "issued in the future (iat): compare the clocks"},
}

// failure converts an error of the parser. t is nil only for a malformed token.
func (v *Verifier) failure(t *jwt.Token, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable
	}
	// The library has one error for a wrong signature and a wrong algorithm; an operator fixes them
	// in different places.
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

// allows reports whether a token may be signed with m. m is nil for an unknown method.
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
