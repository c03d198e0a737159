package site

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence"
)

// origin is an allowed web origin (RFC 6454). All three parts must be equal. The first label of the
// host can be "*", which matches any one label.
type origin struct {
	any    bool
	scheme string
	host   string
	port   string
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// ParseOrigin parses scheme://host[:port]. A path, a query or a user is an error, as is null.
func ParseOrigin(s string) (origin, error) {
	if s == "*" {
		return origin{any: true}, nil
	}
	bad := func(why string) (origin, error) {
		return origin{}, fmt.Errorf("origin %q: %s; write it like https://app.example.com", s, why)
	}
	// A host name cannot contain "*", so parse the rest without it.
	plain := strings.Replace(s, "://*.", "://", 1)
	u, err := url.Parse(plain)
	switch {
	case err != nil || u.Host == "":
		return bad("it is not scheme://host")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(s, "?#"):
		return bad("it has more than scheme, host and port")
	case defaultPorts[u.Scheme] == "":
		return bad("its scheme is neither http nor https")
	}
	name, err := presence.ParseHostName(u.Hostname())
	if err != nil {
		return bad("its host is not a domain name")
	}
	o := origin{scheme: u.Scheme, host: name.String(), port: u.Port()}
	if o.port == "" {
		o.port = defaultPorts[o.scheme]
	}
	if plain != s {
		o.host = "*." + o.host
	}
	return o, nil
}

// match reports whether the origin of a request is allowed by o.
func (o origin) match(got origin) bool {
	if o.any {
		return true
	}
	if o.scheme != got.scheme || o.port != got.port {
		return false
	}
	return hostpattern.Match(o.host, got.host)
}

// CheckOrigin reports whether a page of the request's origin may open a websocket. The origin must
// be the host's own, or allowed. A request without an Origin header comes from no browser and is
// allowed, unless a cookie authenticated it: a browser sends cookies for any page.
func (s *Site) CheckOrigin(r *http.Request, byCookie bool) bool {
	header := r.Header.Values("Origin")
	if len(header) == 0 {
		return !byCookie
	}
	if len(header) > 1 || strings.Contains(header[0], "*") {
		return false
	}
	got, err := ParseOrigin(header[0])
	if err != nil {
		return slices.ContainsFunc(s.Origins, func(o origin) bool { return o.any })
	}
	return sameOrigin(got, r) || slices.ContainsFunc(s.Origins, func(o origin) bool { return o.match(got) })
}

// IsSameOrigin reports whether a page of the host's own origin makes the request, as its one Origin
// header says. That origin is https if secure, and http otherwise.
func IsSameOrigin(r *http.Request, secure bool) bool {
	header := r.Header.Values("Origin")
	if len(header) != 1 || strings.Contains(header[0], "*") {
		return false
	}
	got, err := ParseOrigin(header[0])
	return err == nil && (got.scheme == "https") == secure && sameOrigin(got, r)
}

// sameOrigin compares the origin with the Host header. Behind a proxy that terminates TLS, the page
// is https and the request is not. The reverse is never allowed.
func sameOrigin(got origin, r *http.Request) bool {
	if r.TLS != nil && got.scheme != "https" {
		return false
	}
	host, err := presence.ParseHostName(r.Host)
	if err != nil || host.String() != got.host {
		return false
	}
	u := url.URL{Host: r.Host}
	port := u.Port()
	if port == "" {
		port = defaultPorts[got.scheme]
	}
	return port == got.port
}
