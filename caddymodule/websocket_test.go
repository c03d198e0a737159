package caddymodule

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// wrapped is a ResponseWriter with Unwrap and without Hijack, as Caddy's own since 2.11.5
// (caddy#7913).
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// listen serves the handler over loopback TCP, with requests in the form that Caddy gives them.
func listen(t *testing.T, h *Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = wrapped{w}
		r = prepare(w, r)
		if user := r.Header.Get("Test-User"); user != "" { // stands for an authentication handler
			r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", user)
		}
		if err := h.ServeHTTP(w, r, notFound); err != nil {
			t.Errorf("ServeHTTP: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// dial opens a websocket to the host; header has names and values.
func dial(t *testing.T, server *httptest.Server, host string, header ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	h := http.Header{"Host": {host}}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	conn, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/message/socket", h)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		conn.SetReadDeadline(time.Now().Add(testkit.Patience))
	}
	return conn, response, err
}

func mustDial(t *testing.T, server *httptest.Server, host string, header ...string) *websocket.Conn {
	t.Helper()
	conn, _, err := dial(t, server, host, header...)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// welcome reads the first frame.
func welcome(t *testing.T, conn *websocket.Conn) (id string, user *presence.User) {
	t.Helper()
	var frame struct {
		Type, Connection, Channel string
		User                      *struct{ ID, Email string }
		Ping                      float64
	}
	if err := conn.ReadJSON(&frame); err != nil {
		t.Fatal(err)
	}
	if frame.Type != "welcome" || len(frame.Connection) != 22 || frame.Channel != "tab|"+frame.Connection || frame.Ping != 25 {
		t.Errorf("the first frame is %+v", frame)
	}
	if frame.User != nil {
		user = &presence.User{ID: frame.User.ID, Email: frame.User.Email}
	}
	return frame.Connection, user
}

// closedWith reads to the end, and returns the close code and reason.
func closedWith(t *testing.T, conn *websocket.Conn) (int, string) {
	t.Helper()
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			var closed *websocket.CloseError
			if !errors.As(err, &closed) {
				t.Fatalf("the connection ended with %v", err)
			}
			return closed.Code, closed.Text
		}
	}
}

func TestServeSocket(t *testing.T) {
	h := loadHandler(t, "api_key k")
	server := listen(t, h)
	ann := mustDial(t, server, "portal.example.com", "Test-User", "USER_1", "Sec-WebSocket-Protocol", "rollcall.v1")
	if ann.Subprotocol() != "rollcall.v1" {
		t.Errorf("the subprotocol is %q", ann.Subprotocol())
	}
	id, user := welcome(t, ann)
	if user == nil || user.ID != "USER_1" {
		t.Errorf("welcome as %+v", user)
	}
	visitor := mustDial(t, server, "PORTAL.example.com:80")
	visitorID, user := welcome(t, visitor)
	if user != nil {
		t.Errorf("a visitor is welcome as %+v", user)
	}
	if err := ann.WriteJSON(map[string]any{"type": "join", "channel": "salesRoom", "presence": "list", "id": 7}); err != nil {
		t.Fatal(err)
	}
	_, joined, err := ann.ReadMessage()
	if want := `"members":[{"id":"USER_1"}],"count":1}`; err != nil || !strings.HasSuffix(string(joined), want) {
		t.Errorf("the join is answered with %s, error %v", joined, err)
	}
	w := post(t, h, "/message/users", `{"apiKey":"k"}`)
	want := `{"tab|` + id + `":{"id":"USER_1","email":""},"tab|` + visitorID + `":1,"salesRoom":[{"id":"USER_1","email":""}]}`
	sameJSON(t, "users", w.Body.String(), want)

	ann.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(testkit.Patience))
	if code, _ := closedWith(t, ann); code != 1000 {
		t.Errorf("the close frame is answered with %d", code)
	}
	visitor.Close()
	testkit.Eventually(t, "both are gone", func() bool { return h.app.hub.Connections() == 0 && len(h.app.hub.Registry.Hosts()) == 0 })
	if got := post(t, h, "/message/users", `{"apiKey":"k"}`).Body.String(); got != "{}" {
		t.Errorf("afterwards, users are %s", got)
	}
}

func TestServeSocketRefusesWithACloseCode(t *testing.T) {
	t.Run("origin", func(t *testing.T) {
		server := listen(t, loadHandler(t, ""))
		for _, origin := range []string{"https://evil.example", "null", "https://portal.example.com.evil.example"} {
			code, _ := closedWith(t, mustDial(t, server, "portal.example.com", "Origin", origin))
			if code != socket.CloseOrigin {
				t.Errorf("%s: closed with %d", origin, code)
			}
		}
		welcome(t, mustDial(t, server, "portal.example.com", "Origin", "http://portal.example.com"))
	})
	t.Run("a cookie and no origin", func(t *testing.T) {
		server := listen(t, loadHandler(t, ""))
		if code, _ := closedWith(t, mustDial(t, server, "portal.example.com", "Test-User", "USER_1", "Cookie", "session=1")); code != socket.CloseOrigin {
			t.Errorf("closed with %d", code)
		}
		welcome(t, mustDial(t, server, "portal.example.com", "Test-User", "USER_1", "Cookie", "session=1", "Origin", "http://portal.example.com"))
		welcome(t, mustDial(t, server, "portal.example.com", "Test-User", "USER_1", "Authorization", "Basic abc", "Cookie", "session=1"))
	})
	t.Run("too many connections", func(t *testing.T) {
		h := loadHandler(t, "limits {\nconnections_per_host 2\n}")
		server := listen(t, h)
		first := mustDial(t, server, "portal.example.com")
		welcome(t, first)
		welcome(t, mustDial(t, server, "portal.example.com"))
		if code, _ := closedWith(t, mustDial(t, server, "portal.example.com")); code != socket.CloseLimit {
			t.Errorf("closed with %d", code)
		}
		welcome(t, mustDial(t, server, "other.example.com")) // a separate host
		first.Close()
		testkit.Eventually(t, "there is room again", func() bool {
			conn := mustDial(t, server, "portal.example.com")
			_, frame, err := conn.ReadMessage()
			return err == nil && strings.Contains(string(frame), `"welcome"`)
		})
	})
}

func TestServeSocketRefusesWithAProblem(t *testing.T) {
	const url = "http://portal.example.com/message/socket"
	handshake := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, url, http.NoBody)
		for key, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		} {
			r.Header.Set(key, value)
		}
		return r
	}
	for _, test := range []struct {
		name   string
		change func(*Handler, *http.Request)
		status int
		code   string
	}{
		{"draining", func(h *Handler, _ *http.Request) { startDraining(t, h) }, http.StatusServiceUnavailable, "draining"},
		{"HTTP/2", func(_ *Handler, r *http.Request) { r.ProtoMajor = 2 }, http.StatusNotImplemented, "http1_only"},
		{"extended CONNECT", func(_ *Handler, r *http.Request) { r.Method, r.ProtoMajor = http.MethodConnect, 3 }, http.StatusNotImplemented, "http1_only"},
		{"CONNECT", func(_ *Handler, r *http.Request) { r.Method = http.MethodConnect }, http.StatusMethodNotAllowed, "method_not_allowed"},
		{"POST", func(_ *Handler, r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed, "method_not_allowed"},
		{"bad Host", func(_ *Handler, r *http.Request) { r.Host = "a..b" }, http.StatusBadRequest, "bad_host"},
		{"no upgrade", func(_ *Handler, r *http.Request) { r.Header.Del("Upgrade") }, http.StatusUpgradeRequired, "bad_handshake"},
		{"old version", func(_ *Handler, r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, http.StatusUpgradeRequired, "bad_handshake"},
		{"bad key", func(_ *Handler, r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "a") }, http.StatusBadRequest, "bad_handshake"},
		{"bad token", func(_ *Handler, r *http.Request) { r.Header.Set("Authorization", "Bearer canary") }, http.StatusUnauthorized, "bad_token"},
		{"bad user", func(_ *Handler, r *http.Request) {
			r.Header.Set("Test-User", strings.Repeat("x", presence.MaxUserID+1))
		}, http.StatusForbidden, "bad_user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadHandler(t, "user {http.request.header.Test-User}\njwt {\nkey "+tokenSecret+"\n}")
			r := handshake()
			test.change(h, r)
			w := serve(t, h, r)
			checkProblem(t, w, test.status, test.code)
			if strings.Contains(w.Body.String(), "canary") {
				t.Errorf("the answer repeats the token: %s", w.Body)
			}
			header := w.Header()
			switch test.status {
			case http.StatusUpgradeRequired:
				if header.Get("Upgrade") != "websocket" || header.Get("Connection") != "Upgrade" || header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("the headers are %v", header)
				}
			case http.StatusUnauthorized:
				if !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("WWW-Authenticate %q", header.Get("WWW-Authenticate"))
				}
			case http.StatusMethodNotAllowed:
				if header.Get("Allow") != http.MethodGet {
					t.Errorf("Allow %q", header.Get("Allow"))
				}
			}
		})
	}
}

// Any client can open websockets over HTTP/2, as often as it likes and for hosts of any length.
func TestHandshakesOverHTTP2AreLoggedOnceAMinute(t *testing.T) {
	h := loadHandler(t, "")
	core, logs := observer.New(zapcore.WarnLevel)
	h.rollcall.Site.Logger = zap.New(core)
	for range 20 {
		r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
		r.ProtoMajor, r.Host = 2, strings.Repeat("a", 15_000)
		checkProblem(t, serve(t, h, r), http.StatusNotImplemented, "http1_only")
	}
	lines := logs.FilterMessage("websocket handshake rejected").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	if host, _ := lines[0].ContextMap()["host"].(string); len(host) != 253 {
		t.Errorf("the host has %d bytes, want 253", len(host))
	}
}

func TestLogin(t *testing.T) {
	const tried = 8 // number of cookies with one name
	valid := signedToken(t, jwt.MapClaims{"sub": "USER_1", "email": "a@example.com"})
	other := signedToken(t, jwt.MapClaims{"sub": "USER_2"})
	expired := signedToken(t, jwt.MapClaims{"sub": "USER_1", "exp": time.Now().Add(-time.Hour).Unix()})
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	expiring := signedToken(t, jwt.MapClaims{"sub": "USER_1", "exp": exp.Unix()})
	ann := &presence.User{ID: "USER_1", Email: "a@example.com"}

	for _, test := range []struct {
		name    string
		header  [2]string
		user    string
		want    site.Login
		Problem string
	}{
		{"nobody", [2]string{}, "", site.Login{}, ""},
		{"handler", [2]string{}, "USER_2", site.Login{User: &presence.User{ID: "USER_2", Email: "b@example.com"}}, ""},
		{"handler that read a cookie", [2]string{"Cookie", "session=1"}, "USER_2", site.Login{User: &presence.User{ID: "USER_2", Email: "b@example.com"}, ByCookie: true}, ""},
		{"handler before token", [2]string{"Authorization", "Bearer " + valid}, "USER_2", site.Login{User: &presence.User{ID: "USER_2", Email: "b@example.com"}}, ""},
		{"handler with a control character", [2]string{}, "USER\n2", site.Login{}, "bad_user"},
		{"handler with bytes that are not UTF-8", [2]string{}, "\xff", site.Login{}, "bad_user"},
		{"handler with a long id", [2]string{}, strings.Repeat("x", 257), site.Login{}, "bad_user"},
		{"bearer", [2]string{"Authorization", "Bearer " + valid}, "", site.Login{User: ann}, ""},
		{"bearer in lower case", [2]string{"Authorization", "bearer  " + valid}, "", site.Login{User: ann}, ""},
		{"bearer that expires", [2]string{"Authorization", "Bearer " + expiring}, "", site.Login{User: &presence.User{ID: "USER_1"}, Expires: exp}, ""},
		{"expired bearer", [2]string{"Authorization", "Bearer " + expired}, "", site.Login{}, "bad_token"},
		{"nonsense as bearer", [2]string{"Authorization", "Bearer x"}, "", site.Login{}, "bad_token"},
		{"no bearer", [2]string{"Authorization", "Bearer "}, "", site.Login{}, "bad_token"},
		{"another scheme", [2]string{"Authorization", "Basic " + valid}, "", site.Login{}, ""},
		{"cookie", [2]string{"Cookie", "a=b; rollcall_token=" + valid}, "", site.Login{User: ann, ByCookie: true}, ""},
		{"expired cookie", [2]string{"Cookie", "rollcall_token=" + expired}, "", site.Login{}, ""},
		{"empty cookie", [2]string{"Cookie", "rollcall_token="}, "", site.Login{}, ""},
		{"another cookie", [2]string{"Cookie", "token=" + valid}, "", site.Login{}, ""},
		{"an expired cookie before a valid one", [2]string{"Cookie", "rollcall_token=" + expired + "; rollcall_token=" + valid}, "", site.Login{User: ann, ByCookie: true}, ""},
		{"a valid cookie before an expired one", [2]string{"Cookie", "rollcall_token=" + valid + "; rollcall_token=" + expired}, "", site.Login{User: ann, ByCookie: true}, ""},
		{"nonsense and an empty cookie before a valid one", [2]string{"Cookie", "rollcall_token=x; rollcall_token=; a=b; rollcall_token=" + valid}, "", site.Login{User: ann, ByCookie: true}, ""},
		{"two valid cookies", [2]string{"Cookie", "rollcall_token=" + valid + "; rollcall_token=" + other}, "", site.Login{User: ann, ByCookie: true}, ""},
		{"two that are not valid", [2]string{"Cookie", "rollcall_token=x; rollcall_token=" + expired}, "", site.Login{}, ""},
		{"a valid cookie behind too many", [2]string{"Cookie", strings.Repeat("rollcall_token=x; ", tried) + "rollcall_token=" + valid}, "", site.Login{}, ""},
		{"a valid cookie behind as many as are tried", [2]string{"Cookie", strings.Repeat("rollcall_token=x; ", tried-1) + "rollcall_token=" + valid}, "", site.Login{User: ann, ByCookie: true}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := tokenSite(t)
			st.User = new(Handler).userOf()
			r := prepare(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody))
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			if test.user != "" {
				repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
				repl.Set("http.auth.user.id", test.user)
				repl.Set("http.auth.user.email", "b@example.com")
			}
			got, p := st.Login(r, testkit.MustHost(t, "portal.example.com"))
			if test.Problem != "" {
				if p == nil || p.Code != test.Problem {
					t.Errorf("got %+v and the problem %+v, want %s", got, p, test.Problem)
				}
				return
			}
			if p != nil {
				t.Fatalf("problem %+v", p)
			}
			if !got.Expires.Equal(test.want.Expires) || got.ByCookie != test.want.ByCookie || (got.User == nil) != (test.want.User == nil) ||
				(got.User != nil && *got.User != *test.want.User) {
				t.Errorf("got %+v with %+v, want %+v with %+v", got, got.User, test.want, test.want.User)
			}
		})
	}
}

// A candidate, as Caddy calls the user of a rejected login, is not logged in.
func TestLoginIsNotOfACandidate(t *testing.T) {
	h := loadHandler(t, "")
	r := prepare(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody))
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.candidate.id", "USER_1")
	if got, p := h.rollcall.Site.Login(r, testkit.MustHost(t, "portal.example.com")); p != nil || got.User != nil {
		t.Errorf("got %+v and the problem %+v", got, p)
	}
}

// A connection that ends right after the 101 response is not an error.
func TestServeSocketOfAClientThatGoesAtOnce(t *testing.T) {
	h := loadHandler(t, "")
	server := listen(t, h)
	for range 20 {
		conn := mustDial(t, server, "portal.example.com")
		conn.Close()
	}
	testkit.Eventually(t, "all are gone", func() bool { return h.app.hub.Connections() == 0 && len(h.app.hub.Registry.Hosts()) == 0 })
}

func TestAdminAnswersWithoutNames(t *testing.T) {
	h := loadHandler(t, "")
	arrive(t, h, "portal.example.com", "canary", "canary@example.com", "canary")
	arrive(t, h, "portal.example.com", "", "")
	ask := func(path, method string) (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		for _, route := range new(AdminAPI).Routes() {
			if route.Pattern == path {
				return w, route.Handler.ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
			}
		}
		t.Fatalf("no route %s", path)
		return nil, nil
	}
	w, err := ask("/rollcall/hosts", http.MethodGet)
	const want = `[{"host":"portal.example.com","connections":2,"authenticated":1,"anonymous":1,"users":1,"channels":1}]`
	if err != nil || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("hosts: %s, error %v, want %s", w.Body, err, want)
	}
	for _, status := range []string{"starting", "draining"} {
		if status == "draining" {
			startDraining(t, h)
		}
		w, err = ask("/rollcall/health", http.MethodGet)
		if err != nil || w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"status":"`+status+`"`) {
			t.Errorf("health while %s: status %d with %s, error %v", status, w.Code, w.Body, err)
		}
	}
	var refused caddy.APIError
	if _, err := ask("/rollcall/hosts", http.MethodPost); !errors.As(err, &refused) || refused.HTTPStatus != http.StatusMethodNotAllowed {
		t.Errorf("POST: error %v", err)
	}
}

// The info of a user that another handler has authenticated has the values that the request has.
func TestUserOfAHandlerHasInfo(t *testing.T) {
	h := loadHandler(t, "user {http.auth.user.id} {http.auth.user.email} {\nname {http.auth.user.name}\nteam \"blue {http.vars.team}\"\n}")
	for _, test := range []struct{ name, want, refused string }{
		{"Zoë <a&b>", `{"name":"Zoë <a&b>","team":"blue "}`, ""},
		{"", `{"team":"blue "}`, ""},
		{"\xff", "", "the info is not valid UTF-8"},
		{strings.Repeat("x", 2048), "", "the info is longer than 2048 bytes"},
	} {
		r := prepare(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody))
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		repl.Set("http.auth.user.id", "USER_1")
		repl.Set("http.auth.user.name", test.name)
		got, p := h.rollcall.Site.Login(r, testkit.MustHost(t, "portal.example.com"))
		switch {
		case test.refused != "":
			if p == nil || p.Code != "bad_user" || !strings.Contains(p.Detail, test.refused) {
				t.Errorf("%.10q: got %+v and the problem %+v", test.name, got.User, p)
			}
		case p != nil || *got.User != presence.User{ID: "USER_1", Info: test.want}:
			t.Errorf("%q: got %+v and the problem %+v", test.name, got.User, p)
		}
	}
}

// A user that another handler has authenticated obeys the same rules as a user of a token.
func TestUserOfAHandlerIsCheckedLikeThatOfAToken(t *testing.T) {
	for name, user := range map[string][2]string{
		"id with a replacement character":    {"a\ufffd", ""},
		"id with a C1 control":               {"a\u0085", ""},
		"id with DEL":                        {"a\x7f", ""},
		"e-mail with a C1 control":           {"ada", "a\u009b@example.com"},
		"e-mail with a replacement":          {"ada", "\ufffd@example.com"},
		"e-mail that is too long":            {"ada", strings.Repeat("x", 321)},
		"e-mail with bytes that are no text": {"ada", "\xff@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			h := loadHandler(t, "")
			r := prepare(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody))
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			repl.Set("http.auth.user.id", user[0])
			repl.Set("http.auth.user.email", user[1])
			if got, p := h.rollcall.Site.Login(r, testkit.MustHost(t, "portal.example.com")); p == nil || p.Code != "bad_user" || p.Status != http.StatusForbidden {
				t.Errorf("got %+v and the problem %+v", got.User, p)
			}
		})
	}
}

const tokenSecret = "0123456789abcdef0123456789abcdef"

// signed returns a token that a test site accepts.
func signedToken(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tokenSite is a site that accepts tokens, also in a cookie.
func tokenSite(t *testing.T) *site.Site {
	t.Helper()
	st := &site.Site{Logger: zap.NewNop(), Cookie: "rollcall_token"}
	var err error
	if st.Verifier, err = token.New(t.Context(), token.Config{Secret: []byte(tokenSecret)}); err != nil {
		t.Fatal(err)
	}
	return st
}
