package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/presence"
)

// maxNumericDate is the last second of the year 9999. A larger exp is usually in milliseconds, and
// the JWT library would wrap it around.
const maxNumericDate = 253402300799

var (
	errClaimsUTF8 = errors.New("the claims are not valid UTF-8")
	errDate       = errors.New("exp, nbf or iat is not a time in seconds since 1970")
)

// claims is the payload of a token, with exact numbers.
type claims struct {
	jwt.MapClaims
	verifier *Verifier
	host     string // host that the token must be for, if the verifier binds tokens to hosts
}

// UnmarshalJSON decodes the payload. It checks the encoding itself, because encoding/json replaces
// invalid UTF-8, which could make two IDs equal.
func (c *claims) UnmarshalJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errClaimsUTF8
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(&c.MapClaims)
}

// Claims returns the payload of a token that was verified, as compact JSON. It is what the
// verification has read: a name that the token has twice is there once.
func Claims(raw string) string {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	var c claims
	if err != nil || c.UnmarshalJSON(decoded) != nil {
		return "" // never, after the verification
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(c.MapClaims) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Validate checks the issuer, the audience and the dates. The JWT library calls it after it has
// verified the signature. The library itself drops the error of a number out of range.
func (c *claims) Validate() error {
	for _, name := range [...]string{"exp", "nbf", "iat"} {
		value, ok := c.MapClaims[name]
		if !ok {
			continue
		}
		n, ok := value.(json.Number)
		if !ok {
			return errDate
		}
		if s, err := n.Float64(); err != nil || s < 0 || s > maxNumericDate {
			return errDate
		}
	}
	return errors.Join(c.checkIssuer(), c.checkAudience())
}

// checkIssuer checks iss (RFC 7519 section 4.1.1).
func (c *claims) checkIssuer() error {
	if c.verifier.issuer == "" {
		return nil
	}
	issuer, err := c.GetIssuer()
	switch {
	case err != nil:
		return err
	case issuer == "":
		return jwt.ErrTokenRequiredClaimMissing
	case issuer != c.ofHost(c.verifier.issuer):
		return jwt.ErrTokenInvalidIssuer
	}
	return nil
}

// checkAudience checks aud (RFC 7519 section 4.1.3).
func (c *claims) checkAudience() error {
	if len(c.verifier.audiences) == 0 {
		return nil
	}
	audience, err := c.GetAudience()
	switch {
	case err != nil:
		return err
	case len(audience) == 0:
		return jwt.ErrTokenRequiredClaimMissing
	}
	for _, allowed := range c.verifier.audiences {
		if slices.Contains(audience, c.ofHost(allowed)) {
			return nil
		}
	}
	return jwt.ErrTokenInvalidAudience
}

// ofHost returns the text of an option for the host of the login.
func (c *claims) ofHost(text string) string { return strings.ReplaceAll(text, Host, c.host) }

// identity returns the user of verified claims. Its errors name claims by their role, never by
// their value.
func (v *Verifier) identity(c *claims) (Identity, error) {
	id, err := idText(c.MapClaims[v.idClaim])
	if err != nil {
		return Identity{}, fmt.Errorf("the id claim %w", err)
	}
	email, err := emailText(c.MapClaims[v.emailClaim])
	if err != nil {
		return Identity{}, fmt.Errorf("the e-mail claim %w", err)
	}
	info, err := infoText(c.MapClaims[v.infoClaim])
	if err != nil {
		return Identity{}, fmt.Errorf("the info claim %w", err)
	}
	user := Identity{ID: id, Email: email, Info: info}
	user.Grants, user.BadGrants = readGrants(v.channelsClaim, c.MapClaims[v.channelsClaim])
	exp, err := c.GetExpirationTime()
	if err != nil {
		return Identity{}, errDate
	}
	if exp != nil {
		user.Expires = exp.Time
	}
	iat, err := c.GetIssuedAt()
	if err != nil {
		return Identity{}, errDate
	}
	if user.Issued = NotIssued; iat != nil && iat.Unix() > 0 {
		user.Issued = iat.Unix()
	}
	return user, nil
}

func idText(value any) (string, error) {
	switch id := value.(type) {
	case string:
		return id, presence.CheckUserID(id)
	case json.Number:
		return wholeNumber(id)
	case nil:
		return "", errors.New("is missing")
	}
	return "", errors.New("is neither a string nor a number")
}

// emailText returns the e-mail address. A null counts as missing: several issuers send it for an
// unknown address.
func emailText(value any) (string, error) {
	switch email := value.(type) {
	case string:
		return email, presence.CheckEmail(email)
	case nil:
		return "", nil
	}
	return "", errors.New("is not a string")
}

// infoText returns the info. What is no object counts as missing: the claim can be there for
// another purpose.
func infoText(value any) (string, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return "", nil
	}
	return presence.EncodeInfo(object)
}

// wholeNumber returns n without fraction and exponent: 7, 7.0 and 70e-1 are one user.
func wholeNumber(n json.Number) (string, error) {
	s := n.String()
	if len(s) > presence.MaxUserID {
		return "", fmt.Errorf("is longer than %d bytes", presence.MaxUserID)
	}
	// big.Rat expands the exponent, to up to a million digits, so check it first.
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > presence.MaxUserID || e < -presence.MaxUserID {
			return "", errors.New("is a number out of range")
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() {
		return "", errors.New("is not a whole number")
	}
	text := r.Num().String()
	if len(text) > presence.MaxUserID {
		return "", errors.New("is a number out of range")
	}
	return text, nil
}
