package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	fetchTimeout    = 10 * time.Second
	maxKeySetBytes  = 256 << 10
	maxHeaderBytes  = 64 << 10
	maxRedirects    = 3
	keySetMediaType = "application/jwk-set+json, application/json"
)

// newKeySetClient returns a client with the transport of given, or with a new one if given is nil.
// It follows no redirect to another origin.
func newKeySetClient(given *http.Client) *http.Client {
	c := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}}
	if given != nil {
		c = *given
	}
	c.Jar = nil
	c.CheckRedirect = checkRedirect
	return &c
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if !sameOrigin(req.URL, via[0].URL) {
		return errors.New("a redirect to another host, port or scheme is not followed: configure the final URL")
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// fetch fetches the key set once.
func (r *remoteKeys) fetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header.Set("Accept", keySetMediaType)
	req.Header.Set("User-Agent", "rollcall")
	// A connection that is kept for the next fetch would outlive the Verifier.
	req.Close = true

	resp, err := r.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d instead of 200", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(body) > maxKeySetBytes {
		return nil, fmt.Errorf("the key set is longer than %d bytes", maxKeySetBytes)
	}
	return parseKeySet(body, r.allowed)
}

// withoutURL removes the URL from an error of package http: its query may contain a credential.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// newKeySetLogger returns a logger that names the key set, without the query of its URL.
func newKeySetLogger(c Config, u *url.URL) func(string, error) {
	if c.Logger == nil {
		return func(string, error) {}
	}
	shown := *u
	shown.RawQuery, shown.ForceQuery = "", false
	return func(msg string, err error) {
		if err != nil {
			err = fmt.Errorf("%s: %w", shown.String(), err)
		}
		c.Logger(msg, err)
	}
}
