package token

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counter is a server that counts its requests.
type counter struct {
	*httptest.Server
	hits atomic.Int64
}

func newCounter(t *testing.T, h http.HandlerFunc) *counter {
	c := new(counter)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c.hits.Add(1)
		h(w, req)
	}))
	t.Cleanup(c.Close)
	return c
}

func serve(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

// Every header and claim that some library has followed points to a server whose keys would verify
// the token.
func TestVerifyNeverFollowsAToken(t *testing.T) {
	evil := keySetJSON(t, jwk(otherEdKey, fields{"kid": "1"}))
	trap := newCounter(t, serve(evil))
	trusted := newCounter(t, serve(keySetJSON(t, jwk(edKey, fields{"kid": "1"}))))
	cert := strings.Join(strings.Split(string(certificate(t, "evil", "evil", otherEdKey.Public(), otherEdKey)), "\n")[1:], "")

	configs := map[string]Config{
		"PEM":     {PublicKeyPEM: publicPEM(t, edKey)},
		"key set": {JWKSURL: trusted.URL},
	}
	headers := map[string]fields{
		"jku":         {"kid": "1", "jku": trap.URL},
		"jku no kid":  {"jku": trap.URL},
		"x5u":         {"kid": "1", "x5u": trap.URL},
		"jwk":         {"kid": "1", "jwk": jwk(otherEdKey, fields{"kid": "1"})},
		"jwk no kid":  {"jwk": jwk(otherEdKey, nil)},
		"x5c":         {"x5c": []string{cert}},
		"kid":         {"kid": trap.URL},
		"kid as path": {"kid": "../../../../dev/null"},
		"all": {
			"kid": trap.URL, "jku": trap.URL, "x5u": trap.URL, "url": trap.URL, "iss": trap.URL,
			"jwk": jwk(otherEdKey, nil), "x5c": []string{cert}, "cty": "JWT",
		},
	}
	claims := goodClaims(fields{"iss": trap.URL, "jku": trap.URL, "jwks_uri": trap.URL, "aud": trap.URL})
	for kind, c := range configs {
		for name, header := range headers {
			t.Run(kind+"/"+name, func(t *testing.T) {
				v := mustNew(t, c) // a new one each time, because the second unknown key waits for a fetch
				mustRefuse(t, v, sign(t, "EdDSA", otherEdKey, claims, header), ErrInvalid)
				mustVerify(t, v, sign(t, "EdDSA", edKey, claims, fields{"kid": "1", "jku": trap.URL, "x5u": trap.URL}))
			})
		}
	}
	if n := trap.hits.Load(); n != 0 {
		t.Errorf("%d requests to the URL in the tokens", n)
	}
	if n, all := trusted.hits.Load(), int64(len(headers)); n < all || n > 2*all {
		t.Errorf("%d requests to the configured URL by %d verifiers, want the first and at most one for an unknown key", n, all)
	}
}

func TestFetchFollowsRedirectsOnlyOnItsHost(t *testing.T) {
	body := keySetJSON(t, jwk(edKey, fields{"kid": "1"}))
	other := newCounter(t, serve(body))
	var server *counter
	server = newCounter(t, func(w http.ResponseWriter, req *http.Request) {
		_, port, _ := net.SplitHostPort(req.Host)
		to := map[string]string{
			"/path":      "/keys",
			"/absolute":  server.URL + "/keys",
			"/other":     other.URL + "/keys",
			"/other-too": "/other",
			"/name":      "http://localhost:" + port + "/keys",
			"/scheme":    strings.Replace(server.URL, "http:", "https:", 1) + "/keys",
			"/loop":      "/loop",
		}[req.URL.Path]
		if to != "" {
			http.Redirect(w, req, to, http.StatusFound)
			return
		}
		_, _ = w.Write(body)
	})
	tests := map[string]string{ // path to error
		"/keys":      "",
		"/path":      "",
		"/absolute":  "",
		"/other":     "redirect to another host",
		"/other-too": "redirect to another host",
		"/name":      "redirect to another host",
		"/scheme":    "redirect to another host",
		"/loop":      "more than 3 redirects",
	}
	for path, want := range tests {
		t.Run(path, func(t *testing.T) { checkFetch(t, server.URL+path, want) })
	}
	if n := other.hits.Load(); n != 0 {
		t.Errorf("%d requests to the other server", n)
	}
}

func TestFetchRefusesOtherAnswers(t *testing.T) {
	good := keySetJSON(t, jwk(edKey, fields{"kid": "1"}))
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"status 500", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(good)
		}, "status 500 instead of 200"},
		{"status 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "status 204 instead of 200"},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, "status 304 instead of 200"},
		{"at the limit", serve(append([]byte(strings.Repeat(" ", maxKeySetBytes-len(good))), good...)), ""},
		{"over the limit", serve(append([]byte(strings.Repeat(" ", maxKeySetBytes-len(good)+1)), good...)), "longer than 262144 bytes"},
		{"endless", func(w http.ResponseWriter, req *http.Request) {
			for req.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "longer than 262144 bytes"},
		{"long header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pad", strings.Repeat("p", 2*maxHeaderBytes))
			_, _ = w.Write(good)
		}, "headers exceeded"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(good)
		}, "unexpected EOF"},
		{"no key set", serve([]byte("<html>")), "decode key set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkFetch(t, newCounter(t, tt.answer).URL, tt.want) })
	}
}

// checkFetch fetches the key set at url once. It expects an error that contains want, or none if
// want is "".
func checkFetch(t *testing.T, rawURL, want string) {
	t.Helper()
	u, err := parseKeySetURL(rawURL + "?token=" + canary)
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := selectAlgorithms([]string{"EdDSA"}, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newRemoteKeys(t.Context(), Config{}, u, allowed).fetch(t.Context())
	switch {
	case want == "":
		if err != nil {
			t.Error(err)
		}
	case err == nil:
		t.Errorf("no error, want %q", want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("error %q does not contain %q", err, want)
	case strings.Contains(err.Error(), canary):
		t.Errorf("the error has the query of the URL: %s", err)
	}
}

func TestFetchKeepsTheGivenClientAsItIs(t *testing.T) {
	trusted := newCounter(t, serve(keySetJSON(t, jwk(edKey, fields{"kid": "1"}))))
	var used atomic.Bool
	given := &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		used.Store(true)
		return http.DefaultTransport.RoundTrip(req)
	})}
	v := mustNew(t, Config{JWKSURL: trusted.URL, HTTPClient: given})
	mustVerify(t, v, edToken(t, "1"))
	if !used.Load() {
		t.Error("the given client was not used")
	}
	if given.CheckRedirect != nil {
		t.Error("the given client was changed")
	}
}

// An idle connection would keep two goroutines, which outlive the Verifier.
func TestFetchLeavesNoConnection(t *testing.T) {
	var open atomic.Int64
	server := httptest.NewUnstartedServer(serve(keySetJSON(t, jwk(edKey, fields{"kid": "1"}))))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			open.Add(1)
		}
		if s == http.StateClosed {
			open.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	for _, client := range []*http.Client{nil, {Transport: &http.Transport{}}} {
		v := mustNew(t, Config{JWKSURL: server.URL, HTTPClient: client})
		mustVerify(t, v, edToken(t, "1"))
		for deadline := time.Now().Add(10 * time.Second); open.Load() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are open", open.Load())
			}
		}
	}
}

func TestSameOrigin(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"https://a.example/x", "https://a.example/y", true},
		{"https://a.example", "https://A.EXAMPLE:443", true},
		{"http://localhost", "http://localhost:80", true},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://b.a.example", false},
		{"https://a.example", "https://a.example.evil.example", false},
		{"https://a.example", "https://a.example@evil.example", false},
	}
	for _, tt := range tests {
		if got := sameOrigin(mustParse(t, tt.a), mustParse(t, tt.b)); got != tt.want {
			t.Errorf("sameOrigin(%s, %s) = %t, want %t", tt.a, tt.b, got, tt.want)
		}
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
