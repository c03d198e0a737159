package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
)

// Authorize is the backend that is asked whether a user may join a channel that needs a grant, if
// the user has no other grant for it.
type Authorize struct {
	// The URL that each question is sent to with POST: https, or http for a backend on a private
	// network. Placeholders are allowed.
	URL string `json:"url,omitempty"`

	// The secrets that sign requests, each with at least 16 bytes; with several, they can be
	// rotated. A secret is `whsec_` and base64, or any other text. Placeholders are allowed.
	Secret []string `json:"secret,omitempty"`

	// The time that a join waits for the answer, up to `30s`. Default: `2s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How long a yes is used for further joins, from `1s` to `1h`. A no is used for at most 5 s.
	// Default: `30s`.
	Cache caddy.Duration `json:"cache,omitempty"`
}

const (
	defaultAuthorizeTimeout = 2 * time.Second
	maxAuthorizeTimeout     = 30 * time.Second
	defaultAuthorizeCache   = 30 * time.Second
	minAuthorizeCache       = time.Second // a join uses the answer after it was kept
	maxAuthorizeCache       = time.Hour
)

// UnmarshalCaddyfile sets up the question from Caddyfile tokens. Syntax:
//
//	authorize <URL> {
//	    secret  <secret>...
//	    timeout <duration>
//	    cache   <duration>
//	}
func (a *Authorize) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &a.URL); err != nil {
		return err
	}
	return block(d, options{
		"secret":  several(&a.Secret),
		"timeout": timeout(&a.Timeout),
		"cache":   timeout(&a.Cache),
	})
}

// endpoint returns the endpoint that the configuration describes. No error shows any part of a
// secret, or of the URL, which can have one.
func (a *Authorize) endpoint(logger *zap.Logger) (*authorize.Endpoint, error) {
	to := &authorize.Endpoint{Timeout: time.Duration(a.Timeout), Cache: time.Duration(a.Cache)}
	if to.Timeout == 0 {
		to.Timeout = defaultAuthorizeTimeout
	}
	if to.Cache == 0 {
		to.Cache = defaultAuthorizeCache
	}
	var err error
	if to.URL, err = resolveURL(a.URL, "authorize asks the backend without encryption: use https", logger); err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	if to.Secrets, err = signingSecrets(a.Secret); err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	switch {
	case to.Timeout < 0 || to.Timeout > maxAuthorizeTimeout:
		return nil, fmt.Errorf("authorize: timeout %s: use a duration up to %s", to.Timeout, maxAuthorizeTimeout)
	case to.Cache < minAuthorizeCache || to.Cache > maxAuthorizeCache:
		return nil, fmt.Errorf("authorize: cache %s: use a duration from %s to %s", to.Cache, minAuthorizeCache, maxAuthorizeCache)
	}
	return to, nil
}

var _ caddyfile.Unmarshaler = (*Authorize)(nil)
