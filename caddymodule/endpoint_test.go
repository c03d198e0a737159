package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// checkProblem checks that an answer is a problem document (RFC 9457) with the status and code.
func checkProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d", w.Code, status)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
		t.Errorf("Content-Length %q for %d bytes", got, w.Body.Len())
	}
	var body struct {
		Type, Title, Detail, Code, Channel string
		Status                             int
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if body.Type != "about:blank" || body.Title != http.StatusText(status) || body.Status != status || body.Code != code || body.Detail == "" {
		t.Errorf("the problem is %s, want the status %d and the code %q", w.Body, status, code)
	}
}

func TestEndpointProblems(t *testing.T) {
	const url = "http://portal.example.com/message/users"
	request := func(method, body string, header ...string) *http.Request {
		r := httptest.NewRequest(method, url, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	chunked := request(http.MethodPost, "")
	chunked.Body, chunked.ContentLength = io.NopCloser(strings.NewReader(`{"apiKey":"k","x":"`+strings.Repeat("x", 64<<10)+`"}`)), -1
	cut := request(http.MethodPost, "")
	cut.Body, cut.ContentLength = io.NopCloser(failingReader{}), 10
	badHost := request(http.MethodPost, `{"apiKey":"k"}`)
	badHost.Host = "a..b"

	for _, test := range []struct {
		name    string
		request *http.Request
		status  int
		code    string
	}{
		{"GET", request(http.MethodGet, ""), http.StatusMethodNotAllowed, "method_not_allowed"},
		{"HEAD", request(http.MethodHead, ""), http.StatusMethodNotAllowed, "method_not_allowed"},
		{"PUT", request(http.MethodPut, `{"apiKey":"k"}`), http.StatusMethodNotAllowed, "method_not_allowed"},
		{"OPTIONS", request(http.MethodOptions, ""), http.StatusMethodNotAllowed, "method_not_allowed"},
		{"bad Host", badHost, http.StatusBadRequest, "bad_host"},
		{"form", request(http.MethodPost, "apiKey=k", "Content-Type", "application/x-www-form-urlencoded"), http.StatusUnsupportedMediaType, "not_json"},
		{"text", request(http.MethodPost, `{"apiKey":"k"}`, "Content-Type", "text/plain"), http.StatusUnsupportedMediaType, "not_json"},
		{"bad content type", request(http.MethodPost, `{"apiKey":"k"}`, "Content-Type", ";"), http.StatusUnsupportedMediaType, "not_json"},
		{"gzip", request(http.MethodPost, "\x1f\x8b", "Content-Type", "application/json", "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType, "encoded_body"},
		{"br, and the key in the header", request(http.MethodPost, "{}", "X-Api-Key", "k", "Content-Encoding", "br"), http.StatusUnsupportedMediaType, "encoded_body"},
		{"several encodings", request(http.MethodPost, "{}", "X-Api-Key", "k", "Content-Encoding", "identity, gzip"), http.StatusUnsupportedMediaType, "encoded_body"},
		{"an unknown encoding", request(http.MethodPost, "{}", "X-Api-Key", "k", "Content-Encoding", "aws-chunked"), http.StatusUnsupportedMediaType, "encoded_body"},
		{"large body", request(http.MethodPost, `{"apiKey":"k","x":"`+strings.Repeat("x", 64<<10)+`"}`), http.StatusRequestEntityTooLarge, "too_large"},
		{"large body in chunks", chunked, http.StatusRequestEntityTooLarge, "too_large"},
		{"body that is cut", cut, http.StatusBadRequest, "bad_body"},
		{"no JSON", request(http.MethodPost, "hello"), http.StatusBadRequest, "bad_json"},
		{"no UTF-8", request(http.MethodPost, "{\"apiKey\":\"k\",\"channel\":\"\xff\"}"), http.StatusBadRequest, "bad_json"},
		{"array", request(http.MethodPost, `["k"]`), http.StatusBadRequest, "bad_json"},
		{"number as key", request(http.MethodPost, `{"apiKey":7}`), http.StatusBadRequest, "bad_value"},
		{"null as key", request(http.MethodPost, `{"apiKey":null}`, "X-Api-Key", "k"), http.StatusBadRequest, "bad_value"},
		{"no key", request(http.MethodPost, `{}`), http.StatusUnauthorized, "bad_key"},
		{"no body", request(http.MethodPost, ""), http.StatusUnauthorized, "bad_key"},
		{"wrong key", request(http.MethodPost, `{"apiKey":"wrong"}`), http.StatusUnauthorized, "bad_key"},
		{"wrong key in the header", request(http.MethodPost, `{}`, "X-Api-Key", "wrong"), http.StatusUnauthorized, "bad_key"},
		{"wrong key in the body and the right one in the header", request(http.MethodPost, `{"apiKey":"wrong"}`, "X-Api-Key", "k"), http.StatusUnauthorized, "bad_key"},
		{"key in another case", request(http.MethodPost, `{"APIKEY":"k"}`), http.StatusUnauthorized, "bad_key"},
		{"number as channel", request(http.MethodPost, `{"apiKey":"k","channel":7}`), http.StatusBadRequest, "bad_value"},
		{"channel with half a surrogate pair", request(http.MethodPost, `{"apiKey":"k","channel":"a\ud800"}`), http.StatusBadRequest, "bad_channel"},
		{"channel with U+FFFD", request(http.MethodPost, "{\"apiKey\":\"k\",\"channel\":\"a\ufffd\"}"), http.StatusBadRequest, "bad_channel"},
		{"null as channel", request(http.MethodPost, `{"apiKey":"k","channel":null}`), http.StatusBadRequest, "bad_value"},
		{"text as flag", request(http.MethodPost, `{"apiKey":"k","dedupeUsers":"false"}`), http.StatusBadRequest, "bad_value"},
		{"unknown scope", request(http.MethodPost, `{"apiKey":"k","scope":"galaxy"}`), http.StatusBadRequest, "bad_value"},
		{"empty scope", request(http.MethodPost, `{"apiKey":"k","scope":""}`), http.StatusBadRequest, "bad_value"},
		{"number as requireComplete", request(http.MethodPost, `{"apiKey":"k","requireComplete":1}`), http.StatusBadRequest, "bad_value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadHandler(t, "api_key k")
			w := serve(t, h, test.request)
			checkProblem(t, w, test.status, test.code)
			if test.status == http.StatusMethodNotAllowed && w.Header().Get("Allow") != http.MethodPost {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
			if got := w.Header().Get("Accept-Encoding"); (test.code == "encoded_body") != (got == "identity") {
				t.Errorf("Accept-Encoding %q", got)
			}
			if strings.Contains(w.Body.String(), "wrong") {
				t.Errorf("the answer repeats the key: %s", w.Body)
			}
		})
	}
}

// A body arrives before its key is known, so the memory of all bodies is limited. Small ones are
// always read.
func TestLargeBodiesOfASiteAreBounded(t *testing.T) {
	const most = 64
	c := mustLoad(t, "http://portal.example.com {\nrollcall {\napi_key k\n}\n}\nhttp://other.example.com {\nrollcall {\napi_key other\n}\n}")
	h := c.app.handlers[0]
	add := func(body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/adduser", body)
		r.Header.Set("X-Api-Key", "k")
		return serve(t, h, r)
	}
	large := strings.Repeat(" ", 64<<10) + `{"users":[]}`

	var clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	var ends []*io.PipeWriter
	for range most {
		body, client := io.Pipe()
		ends = append(ends, client)
		clients.Go(func() { add(body) })
		clients.Go(func() { _, _ = io.WriteString(client, large[:64<<10]) })
	}
	testkit.Eventually(t, "all bodies are on the way", func() bool { return h.rollcall.Site.LargeBodies.Load() == most })
	w := add(strings.NewReader(large))
	checkProblem(t, w, http.StatusServiceUnavailable, "busy")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if w := add(strings.NewReader(`{"users":[]}`)); w.Code != http.StatusCreated {
		t.Errorf("small body: status %d with %s", w.Code, w.Body)
	}
	r := httptest.NewRequest(http.MethodPost, "http://other.example.com/message/adduser", strings.NewReader(large))
	r.Header.Set("X-Api-Key", "other")
	if w := serve(t, c.app.handlers[1], r); w.Code != http.StatusCreated {
		t.Errorf("another site: status %d with %s", w.Code, w.Body)
	}
	for _, client := range ends {
		_ = client.CloseWithError(io.ErrUnexpectedEOF)
	}
	testkit.Eventually(t, "there is room again", func() bool { return h.rollcall.Site.LargeBodies.Load() == 0 })
	if w := add(strings.NewReader(large)); w.Code != http.StatusCreated {
		t.Errorf("afterwards: status %d with %s", w.Code, w.Body)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the client has gone") }

func TestEndpointAcceptsTheKey(t *testing.T) {
	h := loadHandler(t, "api_key k sha256:"+hashed("other"))
	for _, test := range []struct{ name, contentType, header, body string }{
		{"in the body", "application/json", "", `{"apiKey":"k"}`},
		{"in the body, hashed in the configuration", "", "", `{"apiKey":"other"}`},
		{"in the header", "application/json; charset=utf-8", "k", `{"unknown":[1,null]}`},
		{"in the header, without a body", "", "k", ""},
		{"of a kind of JSON", "application/vnd.app+json", "k", "{}"},
		{"in the body, before the header", "Application/JSON", "wrong", `{"apiKey":"k"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", strings.NewReader(test.body))
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			if test.header != "" {
				r.Header.Set("X-Api-Key", test.header)
				r.Header.Set("Content-Encoding", "Identity") // means no encoding
			}
			w := serve(t, h, r)
			if w.Code != http.StatusOK || w.Body.String() != "{}" {
				t.Fatalf("status %d with %s", w.Code, w.Body)
			}
			for key, want := range map[string]string{
				"Content-Type": "application/json", "Cache-Control": "no-store", "Rollcall-Complete": "true", "Content-Length": "2",
			} {
				if got := w.Header().Get(key); got != want {
					t.Errorf("%s: %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestEndpointWithoutKeysAnswersNobody(t *testing.T) {
	h := loadHandler(t, "")
	for _, body := range []string{"", "{}", `{"apiKey":""}`, `{"apiKey":"off"}`} {
		checkProblem(t, post(t, h, "/message/users", body), http.StatusUnauthorized, "bad_key")
	}
}

func TestEndpointWithKeysOffAnswersEverybody(t *testing.T) {
	h := loadHandler(t, "api_key off")
	for _, body := range []string{"", `{"apiKey":"any"}`} {
		if w := post(t, h, "/message/allusers", body); w.Code != http.StatusOK {
			t.Errorf("%q: status %d", body, w.Code)
		}
	}
}

// maxGuesses is the number of wrong keys that one client may try.
const maxGuesses = 10

// askFrom asks the users of a host from a client's address.
func askFrom(t testing.TB, h *Handler, ip, host string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", body)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r = prepare(w, r)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, ip)
	if err := h.ServeHTTP(w, r, notFound); err != nil {
		t.Error(err)
	}
	return w
}

func TestEndpointBlocksAfterManyWrongKeys(t *testing.T) {
	h := loadHandler(t, "api_key k")
	ask := func(ip, host, body string) *httptest.ResponseRecorder {
		return askFrom(t, h, ip, host, strings.NewReader(body))
	}
	for range maxGuesses {
		checkProblem(t, ask("192.0.2.1", "portal.example.com", `{"apiKey":"wrong"}`), http.StatusUnauthorized, "bad_key")
	}
	for _, body := range []string{`{"apiKey":"wrong"}`, `{"apiKey":"k"}`} {
		w := ask("192.0.2.1", "portal.example.com", body)
		checkProblem(t, w, http.StatusTooManyRequests, "too_many_bad_keys")
		var seconds int
		if _, err := fmt.Sscan(w.Header().Get("Retry-After"), &seconds); err != nil || seconds < 1 || seconds > 60 {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	if w := ask("192.0.2.2", "portal.example.com", `{"apiKey":"k"}`); w.Code != http.StatusOK {
		t.Errorf("status %d for another client", w.Code)
	}
}

// A client gets no more guesses by varying the rest of its requests, or the site.
func TestEndpointCountsGuessesAtTheSameKeysTogether(t *testing.T) {
	sites := mustLoad(t, `
http://*.example.com {
	rollcall {
		api_key k other
	}
}
http://a.example.org {
	rollcall {
		api_key sha256:`+hashed("other")+` k k
	}
}
http://b.example.org {
	rollcall {
		api_key k
	}
}`)
	byKeys := make(map[int]*Handler) // handlers by number of keys
	for _, h := range sites.app.handlers {
		byKeys[len(h.APIKey)] = h
	}
	wildcard, same, differing := byKeys[2], byKeys[3], byKeys[1]
	type guess struct {
		h        *Handler
		ip, host string
	}
	for name, guesses := range map[string][]guess{
		"hosts of a wildcard":       {{wildcard, "192.0.2.1", "a%d.example.com"}},
		"spellings of a host":       {{wildcard, "192.0.2.2", "PORTAL.example.com"}, {wildcard, "192.0.2.2", "portal.example.com.:%d"}},
		"sites with the same keys":  {{wildcard, "192.0.2.3", "a.example.com"}, {same, "192.0.2.3", "a.example.org"}},
		"mapped and translated":     {{wildcard, "192.0.2.4", "a.example.com"}, {same, "::ffff:192.0.2.4", "a.example.org"}, {same, "64:ff9b::c000:204", "a.example.org"}},
		"addresses in a /64, zones": {{same, "2001:db8::1", "a.example.org"}, {same, "2001:db8::ffff:2%%eth%d", "a.example.org"}},
		"no address":                {{same, "", "a.example.org"}, {same, "@", "a.example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			numbered := func(format string, i int) string {
				if strings.Contains(format, "%d") {
					return fmt.Sprintf(format, i)
				}
				return format
			}
			for i := range 3 * maxGuesses {
				g := guesses[i%len(guesses)]
				w := askFrom(t, g.h, numbered(g.ip, i), numbered(g.host, i), strings.NewReader(`{"apiKey":"wrong"}`))
				if want := i < maxGuesses; (w.Code == http.StatusUnauthorized) != want {
					t.Fatalf("guess %d is answered with status %d", i+1, w.Code)
				}
			}
			g := guesses[0]
			w := askFrom(t, differing, numbered(g.ip, 0), "b.example.org", strings.NewReader(`{"apiKey":"k"}`))
			if w.Code != http.StatusOK {
				t.Errorf("status %d for the same client on a site with other keys", w.Code)
			}
		})
	}
}

// gate lets a body through when it is opened.
type gate struct {
	io.Reader
	waiting *sync.WaitGroup
	open    <-chan struct{}
	once    sync.Once
}

func (g *gate) Read(p []byte) (int, error) {
	g.once.Do(g.waiting.Done)
	<-g.open
	return g.Reader.Read(p)
}

// Requests that wait for their bodies have passed every check that comes before the key.
func TestEndpointCountsGuessesOfHeldRequests(t *testing.T) {
	h := loadHandler(t, "api_key k")
	const requests = 300
	open := make(chan struct{})
	codes := make(chan int, requests)
	var waiting, answered sync.WaitGroup
	waiting.Add(requests)
	for range requests {
		body := &gate{Reader: strings.NewReader(`{"apiKey":"wrong"}`), waiting: &waiting, open: open}
		answered.Go(func() { codes <- askFrom(t, h, "192.0.2.1", "portal.example.com", body).Code })
	}
	waiting.Wait()
	close(open)
	answered.Wait()
	close(codes)
	count := make(map[int]int)
	for code := range codes {
		count[code]++
	}
	if count[http.StatusUnauthorized] != maxGuesses || count[http.StatusTooManyRequests] != requests-maxGuesses {
		t.Errorf("%d requests are answered with %v, want %d with 401 and the others with 429", requests, count, maxGuesses)
	}
}

func TestEndpointDoesNotCountWhatIsNoGuess(t *testing.T) {
	const wrong, json = `{"apiKey":"wrong"}`, "application/json"
	for _, test := range []struct {
		name, body string
		header     []string
		status     int
		code       string
	}{
		{"no body", "", nil, http.StatusUnauthorized, "bad_key"},
		{"no key", "{}", []string{"Content-Type", json}, http.StatusUnauthorized, "bad_key"},
		{"an empty key", `{"apiKey":""}`, nil, http.StatusUnauthorized, "bad_key"},
		{"an empty header", "", []string{"X-Api-Key", ""}, http.StatusUnauthorized, "bad_key"},
		{"a page of another site", wrong, []string{"Origin", "https://evil.example"}, http.StatusUnsupportedMediaType, "not_json"},
		{"a page without an origin", wrong, []string{"Origin", "null"}, http.StatusUnsupportedMediaType, "not_json"},
		{"an empty origin", wrong, []string{"Origin", ""}, http.StatusUnsupportedMediaType, "not_json"},
		{"Sec-Fetch-Site", wrong, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusUnsupportedMediaType, "not_json"},
		{"a form of a page", "a=b", []string{"Origin", "https://evil.example", "Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType, "not_json"},
		{"a text of a page", wrong, []string{"Sec-Fetch-Site", "same-site", "Content-Type", "text/plain; charset=application/json"}, http.StatusUnsupportedMediaType, "not_json"},
		{"another JSON of a page", wrong, []string{"Origin", "https://evil.example", "Content-Type", "text/x+json"}, http.StatusUnsupportedMediaType, "not_json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadHandler(t, "api_key k")
			for range maxGuesses + 1 {
				w := askFrom(t, h, "192.0.2.1", "portal.example.com", strings.NewReader(test.body), test.header...)
				checkProblem(t, w, test.status, test.code)
			}
			w := askFrom(t, h, "192.0.2.1", "portal.example.com", strings.NewReader(`{"apiKey":"k"}`),
				"Origin", "https://portal.example.com", "Content-Type", json)
			if w.Code != http.StatusOK {
				t.Errorf("status %d with the right key: %s", w.Code, w.Body)
			}
		})
	}
}

func TestEndpointWhileDraining(t *testing.T) {
	h := loadHandler(t, "api_key k")
	startDraining(t, h)
	for _, path := range []string{"/message/users", "/message/allusers", "/message/sendmessage"} {
		w := post(t, h, path, `{"apiKey":"k"}`)
		checkProblem(t, w, http.StatusServiceUnavailable, "draining")
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q", got)
		}
	}
}

// slowReader calls a function before the body arrives.
type slowReader struct {
	io.Reader
	before func()
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.before != nil {
		r.before()
		r.before = nil
	}
	return r.Reader.Read(p)
}

// A running request is answered although its configuration ends.
func TestEndpointOutlivesItsConfiguration(t *testing.T) {
	old, next := started(t, siteWithKey("portal.example.com", "k")), mustLoad(t, siteWithKey("portal.example.com", "k"))
	h := old.handler(t)
	r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", &slowReader{
		strings.NewReader(`{"apiKey":"k"}`),
		func() {
			if err := next.app.Start(); err != nil {
				t.Error(err)
			}
			old.mustStop(t)
			old.mustCleanup(t)
		},
	})
	if w := serve(t, h, r); w.Code != http.StatusOK || w.Body.String() != "{}" {
		t.Errorf("status %d with %s", w.Code, w.Body)
	}
}

// A body that arrives slowly does not extend the life of its key.
func TestEndpointAsksTheConfigurationInEffect(t *testing.T) {
	const portal = "http://portal.example.com {\n\trollcall {\n\t\tapi_key %s\n\t}\n}"
	old := mustLoad(t, fmt.Sprintf(portal, "old"))
	h, hub := old.handler(t), old.app.hub
	offered, next := old.snapshot(), mustLoad(t, fmt.Sprintf(portal, "new")).snapshot()
	hub.Offer(offered)
	body := &slowReader{strings.NewReader(`{"apiKey":"old"}`), func() {
		hub.Offer(next)
		hub.TakeBack(offered)
	}}
	w := serve(t, h, httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/users", body))
	checkProblem(t, w, http.StatusUnauthorized, "bad_key")
	if w := post(t, h, "/message/users", `{"apiKey":"new"}`); w.Code != http.StatusOK {
		t.Errorf("status %d with the new key", w.Code)
	}
}

func TestProblemRetryAfterIsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 1500 * time.Millisecond: "2"} {
		w := httptest.NewRecorder()
		(&problem.Problem{Status: http.StatusServiceUnavailable, Code: "c", Detail: "d", Retry: wait}).Write(w)
		checkProblem(t, w, http.StatusServiceUnavailable, "c")
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After %q, want %q", wait, got, want)
		}
	}
}

// A client that cannot choose the Host header names another host of the same site in the body.
func TestHostInTheBody(t *testing.T) {
	c := mustLoad(t, "http://portal.example.com, http://other.example.com, http://127.0.0.1:8081 {\n\trollcall {\n\t\tapi_key k\n\t}\n}\n"+
		siteWithKey("tenant.example.com", "t"))
	i := slices.IndexFunc(c.app.handlers, func(h *Handler) bool { return strings.HasSuffix(h.way.Server.Listen[0], ":8081") })
	if i < 0 {
		t.Fatal("no handler is on port 8081")
	}
	h := c.app.handlers[i]
	arrive(t, h, "portal.example.com", "ada", "", "room")
	const asked, ada = "http://127.0.0.1:8081", `{"room":[{"id":"ada","email":""}]}`
	for _, test := range []struct {
		name, body string
		status     int
		want       string // answer, or code of the problem
	}{
		{"another host of the site", `{"apiKey":"k","host":"portal.example.com","channel":"room"}`, http.StatusOK, ada},
		{"not in canonical form", `{"apiKey":"k","host":"PORTAL.Example.com.:443","channel":"room"}`, http.StatusOK, ada},
		{"the host of the request", `{"apiKey":"k","host":"127.0.0.1","channel":"room"}`, http.StatusOK, `{}`},
		{"none", `{"apiKey":"k","channel":"room"}`, http.StatusOK, `{}`},
		{"a host of another site", `{"apiKey":"k","host":"tenant.example.com"}`, http.StatusMisdirectedRequest, "misdirected"},
		{"a host of no site", `{"apiKey":"k","host":"elsewhere.test"}`, http.StatusMisdirectedRequest, "misdirected"},
		{"a host of another site, without a key", `{"host":"tenant.example.com"}`, http.StatusUnauthorized, "bad_key"},
		{"a host of another site, with its key", `{"apiKey":"t","host":"tenant.example.com"}`, http.StatusUnauthorized, "bad_key"},
		{"no host", `{"apiKey":"k","host":"portal..example.com"}`, http.StatusBadRequest, "bad_value"},
		{"empty", `{"apiKey":"k","host":""}`, http.StatusBadRequest, "bad_value"},
		{"null", `{"apiKey":"k","host":null}`, http.StatusBadRequest, "bad_value"},
		{"a number", `{"apiKey":"k","host":1}`, http.StatusBadRequest, "bad_value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serve(t, h, httptest.NewRequest(http.MethodPost, asked+"/message/users", strings.NewReader(test.body)))
			if test.status != http.StatusOK {
				checkProblem(t, w, test.status, test.want)
				return
			}
			if w.Code != test.status || w.Body.String() != test.want {
				t.Errorf("status %d: %s, want %s", w.Code, w.Body, test.want)
			}
		})
	}
}

// FuzzRequestBody checks that every body gets an answer: JSON, or a problem that the client can
// read.
func FuzzRequestBody(f *testing.F) {
	h := loadHandler(f, "api_key k")
	arrive(f, h, "portal.example.com", "USER_1", "a@example.com", "room")
	arrive(f, h, "portal.example.com", "", "", "anonymousChat")
	for _, body := range []string{
		`{"apiKey":"k"}`, `{"apiKey":"k","channel":"room","dedupeUsers":false}`, `{"apiKey":"k","includeUsers":true,"scope":"all"}`,
		`{"apiKey":"k","channel":"tab|","requireComplete":true}`, `{"apiKey":null}`, `[]`, ``, `{"apiKey":"\ud800"}`, "{\"apiKey\":\"\xff\"}",
	} {
		f.Add([]byte(body), false)
	}
	f.Add([]byte(`{"apiKey":"k","channels":["room","tab|AAAAAAAAAAAAAAAAAAAAAA"],"message":{"a":[]}}`), false)
	f.Add([]byte(`{"channels":["room"],"APIKEY":1,"message":{}}`), true)
	f.Add([]byte(`{"channel":"tab|AAAAAAAAAAAAAAAAAAAAAA"}`), true)
	f.Add([]byte(`{"host":"OTHER.example.com.:1"}`), true)
	f.Add([]byte(`{"host":"elsewhere.test"}`), true)
	n := 0
	f.Fuzz(func(t *testing.T, body []byte, inHeader bool) {
		for _, path := range []string{"/message/users", "/message/allusers", "/message/sendmessage"} {
			r := httptest.NewRequest(http.MethodPost, "http://portal.example.com"+path, bytes.NewReader(body))
			if inHeader {
				r.Header.Set("X-Api-Key", "k")
			}
			n++
			w := httptest.NewRecorder()
			r = prepare(w, r)
			caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)) // no address is blocked
			if err := h.ServeHTTP(w, r, notFound); err != nil {
				t.Fatal(err)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%q is answered with %q", body, w.Body)
			}
			switch w.Code {
			case http.StatusOK, http.StatusCreated:
				if !inHeader && !bytes.Contains(body, []byte("k")) && !bytes.Contains(body, []byte(`\u`)) {
					t.Errorf("%q opens %s", body, path)
				}
			case http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusMisdirectedRequest:
				if w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%q is answered with status %d and %q", body, w.Code, w.Header())
				}
			default:
				t.Errorf("%q is answered with status %d", body, w.Code)
			}
		}
	})
}
