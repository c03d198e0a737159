package caddymodule

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
)

// Backend is where messages that are sent in the modes listen and receive are copied to.
type Backend struct {
	// The URL that each message is sent to with POST: https, or http for a backend on a private
	// network. Placeholders are allowed.
	URL string `json:"url,omitempty"`

	// The secrets that sign requests, each with at least 16 bytes; with several, they can be
	// rotated. A secret is `whsec_` and base64, or any other text. Placeholders are allowed.
	Secret []string `json:"secret,omitempty"`

	// The time that the backend has for an answer, up to `1m`. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The maximum size of the queue on disk for each host, in bytes, from 65536 (64KiB) to
	// 1073741824 (1GiB). When the queue is full, messages are refused. Default: 67108864 (64MiB).
	Queue int64 `json:"queue,omitempty"`
}

const (
	defaultBackendTimeout = 10 * time.Second
	maxBackendTimeout     = time.Minute
	defaultBackendQueue   = 64 << 20
	minBackendQueue       = 64 << 10
	maxBackendQueue       = 1 << 30
)

// UnmarshalCaddyfile sets up the backend from Caddyfile tokens. Syntax:
//
//	backend <URL> {
//	    secret  <secret>...
//	    timeout <duration>
//	    queue   <size>
//	}
func (b *Backend) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &b.URL); err != nil {
		return err
	}
	return block(d, options{
		"secret":  several(&b.Secret),
		"timeout": timeout(&b.Timeout),
		"queue":   size(&b.Queue),
	})
}

// endpoint returns the endpoint that the configuration describes. No error shows any part of a
// secret, or of the URL, which can have one.
func (b *Backend) endpoint(logger *zap.Logger) (*backend.Endpoint, error) {
	to := &backend.Endpoint{Timeout: time.Duration(b.Timeout), Queue: b.Queue}
	if err := complete(to, b.URL, b.Secret, "copies go to the backend without encryption: use https", logger); err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	return to, nil
}

// complete sets the URL, the secrets and the limits of an endpoint with a queue, and checks them.
// warning is as in resolveURL.
func complete(to *backend.Endpoint, url string, secrets []string, warning string, logger *zap.Logger) (err error) {
	if to.URL, err = resolveURL(url, warning, logger); err != nil {
		return err
	}
	if to.Secrets, err = signingSecrets(secrets); err != nil {
		return err
	}
	return limit(to)
}

// limit sets the defaults of the limits of an endpoint, and checks them.
func limit(to *backend.Endpoint) error {
	if to.Timeout == 0 {
		to.Timeout = defaultBackendTimeout
	}
	if to.Queue == 0 {
		to.Queue = defaultBackendQueue
	}
	switch {
	case to.Timeout < 0 || to.Timeout > maxBackendTimeout:
		return fmt.Errorf("timeout %s: use a duration up to %s", to.Timeout, maxBackendTimeout)
	case to.Queue < minBackendQueue || to.Queue > maxBackendQueue:
		return errors.New("queue: use a size from 64KiB to 1GiB")
	}
	return nil
}

// signingSecrets returns the secrets of an option, with their placeholders replaced.
func signingSecrets(texts []string) ([]backend.Secret, error) {
	if len(texts) == 0 {
		return nil, errors.New(
			`no secret: make one with echo "whsec_$(openssl rand -base64 32)", and give it to the backend too`)
	}
	secrets := make([]backend.Secret, len(texts))
	for i, text := range texts {
		secret, err := resolveKey(numbered("secret", i), text)
		if err != nil {
			return nil, err
		}
		if secrets[i], err = backend.ParseSecret(secret); err != nil {
			return nil, fmt.Errorf("%s %w", numbered("secret", i), err)
		}
	}
	return secrets, nil
}

// resolveURL returns the URL of an option, with its placeholders replaced. It logs the warning if
// requests would cross a public network without encryption.
func resolveURL(text, warning string, logger *zap.Logger) (string, error) {
	text, err := resolveSecret("the URL", text)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Fragment != "" {
		return "", errors.New("write a URL like https://app.example.com/rollcall")
	}
	if u.Scheme == "http" && !isPrivate(u.Hostname()) {
		logger.Warn(warning, zap.String("host", u.Hostname()))
	}
	return u.String(), nil
}

// isPrivate reports whether a host is, by its name or address, on this machine or a private
// network.
func isPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last == name || last == "localhost" || last == "internal" || last == "local"
}

var _ caddyfile.Unmarshaler = (*Backend)(nil)
