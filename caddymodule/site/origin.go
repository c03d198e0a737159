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

// origin is an allowed web origin (RFC 6454): all three parts must be equal. In the host, the first label can be "*"
// for any one label.
type origin struct {
	any    bool
	scheme string
	host   string
	port   string
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// ParseOrigin reads scheme://host[:port]. A path, a query or a user is an error, as is null.
func ParseOrigin(s string) (origin, error) {
	if s == "*" {
		return origin{any: true}, nil
	}
	bad := func(why string) (origin, error) {
		return origin{}, fmt.Errorf("origin %q: %s; write it like https://app.example.com", s, why)
	}
	// "*" is no part of a host name, so it stands aside while the rest is checked.
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

// match reports whether a request's origin is this one.
func (o origin) match(got origin) bool {
	if o.any {
		return true
	}
	if o.scheme != got.scheme || o.port != got.port {
		return false
	}
	return hostpattern.Match(o.host, got.host)
}

// CheckOrigin reports whether a page of the request's origin may open a websocket here: it must be of the host itself, or
// allowed. Without an Origin header the client is no browser; that is fine unless it is known by a cookie, which a
// browser would have sent for any page.
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

// sameOrigin compares with the Host header. Behind a proxy that terminates TLS, the page is https and the request is
// not; the other way round is never right.
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
