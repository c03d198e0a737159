package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// DefaultLeeway is the allowed clock skew if [Config.Leeway] is zero.
	DefaultLeeway = 5 * time.Second

	maxLeeway = 5 * time.Minute
)

// Host stands for the host of the login in [Config.Issuer] and [Config.Audiences]: it is how a
// Caddyfile passes {host} on.
const Host = "{http.request.host}"

// MinSecret is the recommended minimum length of an HMAC secret in bytes (RFC 7518 section 3.2).
const MinSecret = 32

// Config configures how the tokens of one site are verified. Exactly one of Secret, PublicKeyPEM
// and JWKSURL is set.
type Config struct {
	// Secret is the HMAC secret, used byte for byte: the caller decodes base64 or hex. A secret
	// shorter than [MinSecret] is accepted; the caller should warn about it.
	Secret []byte

	// PublicKeyPEM has one or more PEM blocks, each a public key or a certificate: RSA of at least
	// 2048 bits, ECDSA on P-256, P-384 or P-521, or Ed25519. Any of the keys may sign. The dates
	// and the issuer of a certificate are ignored.
	PublicKeyPEM []byte

	// JWKSURL is the URL of the issuer's JSON Web Key Set. The scheme is https, or http on loopback
	// hosts.
	JWKSURL string

	// Algorithms are the allowed signature algorithms. Default: HS256 for a secret; RS256, ES256,
	// ES384, ES512 or EdDSA for PEM keys, according to their kinds; RS256, ES256 and EdDSA for a
	// key set.
	Algorithms []string

	// Issuer, if set, must equal the token's iss. If there are Audiences, the token's aud must have
	// one of them. [Host] in them stands for the host that the user logs in to.
	Issuer    string
	Audiences []string

	// IDClaim is the name of the claim with the user's ID. Default: sub.
	IDClaim string

	// EmailClaim is the name of the claim with the user's e-mail. Default: email.
	EmailClaim string

	// InfoClaim is the name of the claim with the user's info. Default: info.
	InfoClaim string

	// ChannelsClaim is the name of the claim with the channels that the token grants. Default:
	// channels.
	ChannelsClaim string

	// Leeway is how far the issuer's clock may be ahead in nbf and iat. It does not extend exp.
	// Default: [DefaultLeeway]. Negative: none. Maximum: 5 minutes.
	Leeway time.Duration

	// HTTPClient fetches the key set. Its redirect policy and cookie jar are not used. If nil, a
	// new client is used, with the proxy of the environment.
	HTTPClient *http.Client

	// Logger is called, from one goroutine, with the reason when the key set cannot be fetched, and
	// with a nil error when it is fetched again. If nil, neither is reported.
	Logger func(msg string, err error)
}

// New returns a Verifier for the site that c describes.
//
// It returns at once and makes no request. With a key set, a goroutine starts to fetch it, and ends
// with ctx. After that, the Verifier keeps its last keys but fetches no new ones.
//
// # Errors
//
// An error says what is wrong with c and what to write instead. It never contains the secret.
func New(ctx context.Context, c Config) (*Verifier, error) {
	v, err := newVerifier(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	return v, nil
}

func newVerifier(ctx context.Context, c Config) (*Verifier, error) {
	leeway, err := c.leeway()
	if err != nil {
		return nil, err
	}
	keys, allowed, err := c.keys(ctx)
	if err != nil {
		return nil, err
	}

	v := &Verifier{
		allowed:       allowed,
		keys:          keys,
		parser:        c.parser(allowed, leeway),
		idClaim:       c.IDClaim,
		emailClaim:    c.EmailClaim,
		infoClaim:     c.InfoClaim,
		channelsClaim: c.ChannelsClaim,
		issuer:        c.Issuer,
		audiences:     slices.Clone(c.Audiences),
	}
	if v.idClaim == "" {
		v.idClaim = "sub"
	}
	if v.emailClaim == "" {
		v.emailClaim = "email"
	}
	if v.infoClaim == "" {
		v.infoClaim = "info"
	}
	if v.channelsClaim == "" {
		v.channelsClaim = "channels"
	}
	// Last, so that nothing is running if an error is returned.
	if r, ok := keys.(*remoteKeys); ok {
		go r.run(ctx)
	}
	return v, nil
}

// secretAlgorithms are the algorithms for a secret if none is configured.
var secretAlgorithms = algorithms[:1:1]

// parser returns the parser of the tokens.
func (c Config) parser(allowed []algorithm, leeway time.Duration) *jwt.Parser {
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(algorithmNames(allowed)),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(leeway),
		jwt.WithIssuedAt(),
	}
	return jwt.NewParser(opts...)
}

func (c Config) leeway() (time.Duration, error) {
	switch {
	case c.Leeway > maxLeeway:
		return 0, fmt.Errorf("leeway %s is too long: use at most %s", c.Leeway, maxLeeway)
	case c.Leeway < 0:
		return 0, nil
	case c.Leeway == 0:
		return DefaultLeeway, nil
	}
	return c.Leeway, nil
}

// keys returns the configured source of keys and the algorithms that it is for.
func (c Config) keys(ctx context.Context) (keySource, []algorithm, error) {
	given := 0
	for _, set := range []bool{len(c.Secret) > 0, len(c.PublicKeyPEM) > 0, c.JWKSURL != ""} {
		if set {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, nil, errors.New("no key is configured: write key with a secret or a PEM public key, or jwks with the URL of a key set")
	case given > 1:
		return nil, nil, errors.New("several kinds of key: write only one of key and jwks")
	case len(c.Secret) > 0:
		return c.secretKeys()
	case len(c.PublicKeyPEM) > 0:
		return c.pemKeys()
	}
	return c.remoteKeys(ctx)
}

func (c Config) secretKeys() (keySource, []algorithm, error) {
	if bytes.Contains(c.Secret, []byte("-----BEGIN ")) {
		return nil, nil, errors.New("the secret is PEM text: configure it as a PEM public key")
	}
	allowed := secretAlgorithms
	if len(c.Algorithms) > 0 {
		var err error
		if allowed, err = selectAlgorithms(c.Algorithms, true); err != nil {
			return nil, nil, err
		}
	}
	return newFixedKeys([]any{bytes.Clone(c.Secret)}, allowed), allowed, nil
}

func (c Config) pemKeys() (keySource, []algorithm, error) {
	keys, err := parsePEM(c.PublicKeyPEM)
	if err != nil {
		return nil, nil, err
	}
	names := c.Algorithms
	if len(names) == 0 {
		for _, k := range keys {
			if a, ok := defaultAlgorithm(k); ok {
				names = append(names, a.name)
			}
		}
	}
	allowed, err := selectAlgorithms(names, false)
	if err != nil {
		return nil, nil, err
	}
	fixed := newFixedKeys(keys, allowed)
	for _, a := range allowed {
		if len(fixed.of(a.name).Keys) == 0 {
			return nil, nil, fmt.Errorf("algorithm %s fits none of the PEM keys: remove it, or add a key of its kind", a.name)
		}
	}
	for i, k := range keys {
		if !fitsAny(k, allowed) {
			return nil, nil, fmt.Errorf("key %d of the PEM text fits none of the algorithms %s: remove it, or add an algorithm of its kind",
				i+1, joinNames(allowed))
		}
	}
	return fixed, allowed, nil
}

func (c Config) remoteKeys(ctx context.Context) (keySource, []algorithm, error) {
	names := c.Algorithms
	if len(names) == 0 {
		names = []string{"RS256", "ES256", "EdDSA"}
	}
	allowed, err := selectAlgorithms(names, false)
	if err != nil {
		return nil, nil, err
	}
	u, err := parseKeySetURL(c.JWKSURL)
	if err != nil {
		return nil, nil, err
	}
	return newRemoteKeys(ctx, c, u, allowed), allowed, nil
}

// parseKeySetURL checks the URL of a key set. Its errors do not repeat the URL, which may contain a
// credential.
func parseKeySetURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the URL of the key set is malformed: write one like https://issuer.example/keys")
	}
	host := u.Hostname()
	switch {
	case host == "":
		return nil, errors.New("the URL of the key set has no host: write one like https://issuer.example/keys")
	case u.User != nil:
		return nil, errors.New("the URL of the key set has a user name: remove it, key sets are public")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(host):
	default:
		return nil, errors.New("the URL of the key set is not https: only a loopback host may use http")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
