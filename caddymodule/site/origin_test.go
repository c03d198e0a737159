package site

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestParseOrigin(t *testing.T) {
	for _, test := range []struct {
		text string
		want origin
	}{
		{"*", origin{any: true}},
		{"https://app.example.com", origin{scheme: "https", host: "app.example.com", port: "443"}},
		{"http://app.example.com", origin{scheme: "http", host: "app.example.com", port: "80"}},
		{"https://app.example.com:443", origin{scheme: "https", host: "app.example.com", port: "443"}},
		{"http://localhost:3000", origin{scheme: "http", host: "localhost", port: "3000"}},
		{"HTTPS://App.Example.COM", origin{scheme: "https", host: "app.example.com", port: "443"}},
		{"https://bücher.example", origin{scheme: "https", host: "xn--bcher-kva.example", port: "443"}},
		{"https://*.example.com", origin{scheme: "https", host: "*.example.com", port: "443"}},
		{"https://*.example.com:8443", origin{scheme: "https", host: "*.example.com", port: "8443"}},
		{"http://192.0.2.1:8080", origin{scheme: "http", host: "192.0.2.1", port: "8080"}},
		{"http://[2001:DB8::1]:8080", origin{scheme: "http", host: "2001:db8::1", port: "8080"}},
		{"http://[::1]", origin{scheme: "http", host: "::1", port: "80"}},
	} {
		got, err := ParseOrigin(test.text)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v and error %v, want %+v", test.text, got, err, test.want)
		}
	}
}

func TestParseOriginRefuses(t *testing.T) {
	for _, text := range []string{
		"", "null", "app.example.com", "//app.example.com", "https://", "https:app.example.com", "https:///a",
		"https://app.example.com/", "https://app.example.com/a", "https://app.example.com?", "https://app.example.com?a",
		"https://app.example.com#", "https://app.example.com#a", "https://bob@app.example.com", "https://@app.example.com",
		"ftp://app.example.com", "file://app.example.com", "chrome-extension://abcdef", "ws://app.example.com",
		"https://*", "https://*app.example.com", "https://app.*.com", "https://*.*.example.com", "https://*.", "*.example.com", "*://a",
		"https://a..example.com", "https://a b", "https://app.example.com:port", "https://app.example.com, https://b.example.com",
		"https://a\x00", "https://[::1", "https://[fe80::1%25eth0]", "https://" + strings.Repeat("a.", 200) + "com",
	} {
		got, err := ParseOrigin(text)
		if err == nil {
			t.Errorf("%q: no error, but %+v", text, got)
			continue
		}
		if !strings.Contains(err.Error(), "write it like https://app.example.com") {
			t.Errorf("%q: the error does not say what to do: %v", text, err)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for _, test := range []struct {
		name    string
		allowed []string
		host    string
		tls     bool
		origin  string // "-" for none
		want    bool
	}{
		{"same", nil, "portal.example.com", true, "https://portal.example.com", true},
		{"same, in plain", nil, "portal.example.com", false, "http://portal.example.com", true},
		{"same, behind a proxy that ends TLS", nil, "portal.example.com", false, "https://portal.example.com", true},
		{"plain page and TLS", nil, "portal.example.com", true, "http://portal.example.com", false},
		{"same in another case", nil, "Portal.Example.com", true, "https://PORTAL.example.COM", true},
		{"same with a trailing dot", nil, "portal.example.com.", true, "https://portal.example.com", true},
		{"same port", nil, "portal.example.com:8443", true, "https://portal.example.com:8443", true},
		{"default port written out", nil, "portal.example.com:443", true, "https://portal.example.com", true},
		{"default port written out in the origin", nil, "portal.example.com", true, "https://portal.example.com:443", true},
		{"another port", nil, "portal.example.com:8443", true, "https://portal.example.com", false},
		{"another port in the origin", nil, "portal.example.com", true, "https://portal.example.com:8443", false},
		{"the plain port over TLS", nil, "portal.example.com:80", true, "https://portal.example.com", false},
		{"IPv6", nil, "[2001:db8::1]:8080", false, "http://[2001:db8::1]:8080", true},
		{"another way to write IPv6", nil, "[2001:db8::1]:8080", false, "http://[2001:DB8:0::1]:8080", true},
		{"another IPv6 address", nil, "[2001:db8::1]", false, "http://[2001:db8::2]", false},
		{"IPv4", nil, "192.0.2.1", false, "http://192.0.2.1", true},

		{"other host", nil, "portal.example.com", true, "https://evil.example", false},
		{"evil suffix", nil, "portal.example.com", true, "https://portal.example.com.evil.example", false},
		{"evil prefix", nil, "portal.example.com", true, "https://evil-portal.example.com", false},
		{"subdomain", nil, "example.com", true, "https://portal.example.com", false},
		{"parent", nil, "portal.example.com", true, "https://example.com", false},
		{"user in the origin", nil, "portal.example.com", true, "https://portal.example.com@evil.example", false},
		{"path in the origin", nil, "portal.example.com", true, "https://portal.example.com/", false},
		{"null", nil, "portal.example.com", true, "null", false},
		{"empty", nil, "portal.example.com", true, "", false},
		{"a list", nil, "portal.example.com", true, "https://portal.example.com https://evil.example", false},
		{"a star", []string{"https://*.example.com"}, "portal.example.com", true, "https://*.example.com", false},
		{"only a star", []string{"*"}, "portal.example.com", true, "*", false},
		{"bad Host", nil, "a..b", true, "https://a..b", false},

		{"allowed", []string{"https://a.example", "https://app.example.org"}, "portal.example.com", true, "https://app.example.org", true},
		{"the host itself too", []string{"https://app.example.org"}, "portal.example.com", true, "https://portal.example.com", true},
		{"allowed plain page over TLS", []string{"http://localhost:3000"}, "portal.example.com", true, "http://localhost:3000", true},
		{"allowed in another scheme", []string{"https://app.example.org"}, "portal.example.com", true, "http://app.example.org", false},
		{"allowed on another port", []string{"https://app.example.org"}, "portal.example.com", true, "https://app.example.org:444", false},
		{"allowed with the port written out", []string{"https://app.example.org:443"}, "portal.example.com", true, "https://app.example.org", true},
		{"evil suffix of an allowed one", []string{"https://app.example.org"}, "portal.example.com", true, "https://app.example.org.evil.example", false},
		{"evil prefix of an allowed one", []string{"https://app.example.org"}, "portal.example.com", true, "https://evilapp.example.org", false},
		{"non-ASCII", []string{"https://bücher.example"}, "portal.example.com", true, "https://xn--bcher-kva.example", true},

		{"wildcard", []string{"https://*.example.org"}, "portal.example.com", true, "https://a.example.org", true},
		{"wildcard is one label", []string{"https://*.example.org"}, "portal.example.com", true, "https://a.b.example.org", false},
		{"wildcard is not none", []string{"https://*.example.org"}, "portal.example.com", true, "https://example.org", false},
		{"wildcard with an evil suffix", []string{"https://*.example.org"}, "portal.example.com", true, "https://a.example.org.evil.example", false},
		{"wildcard with an evil prefix", []string{"https://*.example.org"}, "portal.example.com", true, "https://a.evilexample.org", false},
		{"wildcard in another scheme", []string{"https://*.example.org"}, "portal.example.com", true, "http://a.example.org", false},

		{"every origin", []string{"*"}, "portal.example.com", true, "http://evil.example:81", true},
		{"every origin, null", []string{"*"}, "portal.example.com", true, "null", true},
		{"every origin, not the web", []string{"*"}, "portal.example.com", true, "chrome-extension://abcdef", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := new(Site)
			for _, text := range test.allowed {
				o, err := ParseOrigin(text)
				if err != nil {
					t.Fatal(err)
				}
				s.Origins = append(s.Origins, o)
			}
			r := httptest.NewRequest(http.MethodGet, "/message/socket", http.NoBody)
			r.Host = test.host
			if test.tls {
				r.TLS = new(tls.ConnectionState)
			}
			r.Header.Set("Origin", test.origin)
			for _, byCookie := range []bool{false, true} {
				if got := s.CheckOrigin(r, byCookie); got != test.want {
					t.Errorf("by cookie %v: got %v, want %v", byCookie, got, test.want)
				}
			}
		})
	}
}

func TestCheckOriginWithoutOrWithManyHeaders(t *testing.T) {
	everybody := &Site{Origins: []origin{{any: true}}}
	r := httptest.NewRequest(http.MethodGet, "https://portal.example.com/message/socket", http.NoBody)
	if !new(Site).CheckOrigin(r, false) {
		t.Error("a client without an Origin header is refused")
	}
	if new(Site).CheckOrigin(r, true) {
		t.Error("a client with a cookie and without an Origin header is allowed")
	}
	r.Header["Origin"] = []string{"https://portal.example.com", "https://portal.example.com"}
	for _, s := range []*Site{new(Site), everybody} {
		if s.CheckOrigin(r, false) {
			t.Error("a request with two Origin headers is allowed")
		}
	}
}

// FuzzParseOrigin checks that a parsed origin is a web origin, and matches only itself.
func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{
		"*", "null", "https://app.example.com", "http://*.example.com:81", "https://[::1]:443", "https://a@b", "https://bücher.example/",
		"https://*.*.a", "HTTP://A", "https://a:", "https://a:0443", "https://%61.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOrigin(s)
		if err != nil {
			if o != (origin{}) {
				t.Errorf("%q: %+v with the error %v", s, o, err)
			}
			return
		}
		if o.any {
			if s != "*" {
				t.Errorf("%q is every origin", s)
			}
			return
		}
		if (o.scheme != "http" && o.scheme != "https") || o.host == "" || o.port == "" {
			t.Errorf("%q is %+v", s, o)
		}
		if strings.ContainsAny(strings.TrimPrefix(o.host, "*."), "*/@?# ") {
			t.Errorf("%q has the host %q", s, o.host)
		}
		got := o
		got.host = strings.Replace(o.host, "*", "a", 1)
		if !o.match(got) {
			t.Errorf("%+v does not match %+v", o, got)
		}
		for _, evil := range []string{"a.b." + got.host, got.host + ".evil.example", "evil" + strings.TrimPrefix(got.host, "a.")} {
			other := got
			other.host = evil
			if o.match(other) {
				t.Errorf("%+v matches %+v", o, other)
			}
		}
		// Written again, it is the same.
		host := o.host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if again, err := ParseOrigin(o.scheme + "://" + host + ":" + o.port); err != nil || again != o {
			t.Errorf("%q: %+v becomes %+v, error %v", s, o, again, err)
		}
	})
}
