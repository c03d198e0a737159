package integration

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// expectUser checks the user in the welcome of a connection; nil for an anonymous one.
func expectUser(t *testing.T, c *ws.Client, want *ws.User) {
	t.Helper()
	got := c.Welcome.User
	if (got == nil) != (want == nil) || (got != nil && *got != *want) {
		t.Errorf("welcomed as %+v, want %+v", got, want)
	}
}

// expectStatus makes a handshake that must fail with an HTTP status.
func expectStatus(t *testing.T, r ws.Request, want int) {
	t.Helper()
	if conn, resp := ws.Open(t, r); conn != nil || resp.StatusCode != want {
		t.Errorf("status %s, want %d", resp.Status, want)
	}
}

func withHeader(s ws.Site, fields ...string) ws.Request {
	r := s.Socket()
	r.Header = ws.Header(fields...)
	return r
}

func TestBasicAuthLogsIn(t *testing.T) {
	// The hash of "open sesame" with the lowest cost.
	const hash = "$2a$04$nfxj5eXv4irTOHYvc7/6Je7q6p/FyxfCVdRyzha0zcd5G0P46ECQS"
	load(t, caddyfile("", "http://portal.example.com:9080 {\n basic_auth /message/socket {\n USER_1 "+hash+
		"\n }\n rollcall {\n api_key "+apiKey+"\n }\n}\n"))
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	c := portalHost.Dial(t, "Authorization", basic("USER_1", "open sesame"))
	expectUser(t, c, &ws.User{ID: "USER_1"})
	c.Join(t, "salesRoom")
	portalHost.Expect(t, "users", `{"channel":"salesRoom"}`, `{"salesRoom":[{"id":"USER_1","email":""}]}`)
	expectStatus(t, withHeader(portalHost, "Authorization", basic("USER_1", "wrong")), http.StatusUnauthorized)
	expectStatus(t, portalHost.Socket(), http.StatusUnauthorized)
}

func TestForwardAuthLogsIn(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Cookie") {
		case "session=1":
			w.Header().Set("Remote-User", "USER_1")
			w.Header().Set("Remote-Email", "a@example.com")
		case "session=visitor":
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer upstream.Close()
	load(t, caddyfile("", "http://portal.example.com:9080 {\n forward_auth /message/socket "+
		strings.TrimPrefix(upstream.URL, "http://")+" {\n uri /auth\n copy_headers Remote-User Remote-Email\n }\n"+
		" rollcall {\n api_key "+apiKey+"\n user {http.request.header.Remote-User} {http.request.header.Remote-Email}\n }\n}\n"))
	const origin = "http://portal.example.com:9080"
	c := portalHost.Dial(t, "Cookie", "session=1", "Origin", origin)
	expectUser(t, c, &ws.User{ID: "USER_1", Email: "a@example.com"})
	visitor := portalHost.Dial(t, "Cookie", "session=visitor", "Origin", origin, "Remote-User", "USER_2")
	expectUser(t, visitor, nil) // the client's own claims do not count
	expectStatus(t, withHeader(portalHost, "Cookie", "session=stolen", "Origin", origin), http.StatusForbidden)

	// A browser sends the cookie from any page, so the origin of the page must be checked.
	conn, _ := ws.Open(t, withHeader(portalHost, "Cookie", "session=1"))
	ws.ExpectClose(t, conn, 4003)
	conn, _ = ws.Open(t, withHeader(portalHost, "Cookie", "session=1", "Origin", "https://evil.example"))
	ws.ExpectClose(t, conn, 4003)
}

func TestTokenLogsIn(t *testing.T) {
	load(t, portal(jwtOptions))
	user := &ws.User{ID: "USER_1", Email: "a@example.com"}
	good := token(t, "USER_1", "a@example.com", time.Hour)
	bad := good[:len(good)-4] + "AAAA"
	const origin = "http://portal.example.com:9080"

	t.Run("Authorization", func(t *testing.T) {
		expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+good), user)
		expectUser(t, portalHost.Dial(t, "Authorization", "bearer "+good), user)
	})
	t.Run("invalid in Authorization", func(t *testing.T) {
		for name, raw := range map[string]string{
			"signature": bad,
			"expired":   token(t, "USER_1", "", -time.Minute),
			"none":      sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims("USER_1", "", 0), ""),
			"no user":   sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"email": "a@example.com"}, ""),
			"no token":  "x",
		} {
			a := portalHost.Request(t, "GET", "/message/socket", "", "Authorization", "Bearer "+raw,
				"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
				"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			t.Run(name, func(t *testing.T) { expectProblem(t, a, http.StatusUnauthorized, "bad_token") })
			if strings.Contains(a.Body, raw) && raw != "x" {
				t.Errorf("%s: the answer holds the token", name)
			}
		}
	})
	t.Run("cookie from the same origin", func(t *testing.T) {
		expectUser(t, portalHost.Dial(t, "Cookie", "rollcall_token="+good, "Origin", origin), user)
	})
	t.Run("cookie without origin", func(t *testing.T) {
		conn, _ := ws.Open(t, withHeader(portalHost, "Cookie", "rollcall_token="+good))
		ws.ExpectClose(t, conn, 4003)
	})
	t.Run("invalid cookie", func(t *testing.T) {
		expectUser(t, portalHost.Dial(t, "Cookie", "rollcall_token="+bad, "Origin", origin), nil)
		expectUser(t, portalHost.Dial(t, "Cookie", "rollcall_token="+bad), nil)
	})
	t.Run("another cookie", func(t *testing.T) {
		expectUser(t, portalHost.Dial(t, "Cookie", "other="+good), nil)
	})
}

// A file or a command that prints a token often ends it with a line break.
func TestWhiteSpaceAroundATokenIsIgnored(t *testing.T) {
	load(t, portal(jwtOptions))
	raw := token(t, "USER_1", "a@example.com", time.Hour)
	for name, text := range map[string]string{
		"line break": raw + "\n", "carriage return": raw + "\r\n", "tab before": "\t" + raw, "spaces": "  " + raw + "  ",
	} {
		t.Run(name, func(t *testing.T) {
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			c := portalHost.Dial(t)
			c.Ask(t, `{"type":"authenticate","token":`+string(quoted)+`}`,
				`{"type":"authenticated","user":{"id":"USER_1","email":"a@example.com"}}`)
			inHeader := strings.Trim(text, "\r\n") // a header cannot contain them
			expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+inHeader), &ws.User{ID: "USER_1", Email: "a@example.com"})
		})
	}
	c := portalHost.Dial(t)
	for name, text := range map[string]string{"within": raw[:9] + `\n` + raw[9:], "alone": `\n`, "another character": raw + `\u0000`} {
		t.Run(name, func(t *testing.T) {
			c.Send(t, `{"type":"authenticate","id":1,"token":"`+text+`"}`)
			c.ExpectError(t, "1", "bad_token")
		})
	}
}

// jwk returns the JSON web key of a public key.
func jwk(t *testing.T, kid, alg string, public any) map[string]string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	key := map[string]string{"kid": kid, "alg": alg, "use": "sig"}
	switch p := public.(type) {
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", b64(p)
	default:
		t.Fatalf("no JSON web key for %T", public)
	}
	return key
}

func TestKeySetLogsIn(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"keys": []any{
		jwk(t, "r", "RS256", &rsaKey.PublicKey), jwk(t, "e", "ES256", &ecKey.PublicKey), jwk(t, "o", "EdDSA", edPublic),
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer keys.Close()
	trap := make(chan string, 10)
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trap <- r.URL.String()
		_, _ = w.Write(body)
	}))
	defer attacker.Close()
	load(t, portal("jwt {\n jwks "+keys.URL+"/keys\n issuer https://issuer.example\n audience rollcall\n}"))

	mine := claims("USER_1", "a@example.com", time.Hour)
	mine["iss"], mine["aud"] = "https://issuer.example", "rollcall"
	for name, tt := range map[string]struct {
		method jwt.SigningMethod
		key    any
		kid    string
	}{
		"RS256": {jwt.SigningMethodRS256, rsaKey, "r"},
		"ES256": {jwt.SigningMethodES256, ecKey, "e"},
		"EdDSA": {jwt.SigningMethodEdDSA, edKey, "o"},
	} {
		t.Run(name, func(t *testing.T) {
			c := portalHost.Dial(t, "Authorization", "Bearer "+sign(t, tt.method, tt.key, mine, tt.kid))
			expectUser(t, c, &ws.User{ID: "USER_1", Email: "a@example.com"})
		})
	}
	with := func(key string, value any) jwt.MapClaims {
		c := maps.Clone(mine)
		c[key] = value
		return c
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodRS256, mine)
	unsigned.Header["kid"], unsigned.Header["jku"] = "unknown", attacker.URL+"/jku"
	pointing, err := unsigned.SignedString(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"another key":      sign(t, jwt.SigningMethodRS256, foreign, mine, "r"),
		"key of its own":   pointing,
		"another issuer":   sign(t, jwt.SigningMethodRS256, rsaKey, with("iss", attacker.URL), "r"),
		"another audience": sign(t, jwt.SigningMethodRS256, rsaKey, with("aud", "somebody"), "r"),
		"public key as a secret": sign(t, jwt.SigningMethodHS256,
			rsaKey.N.Bytes(), mine, "r"),
	} {
		t.Run(name, func(t *testing.T) {
			expectStatus(t, withHeader(portalHost, "Authorization", "Bearer "+raw), http.StatusUnauthorized)
		})
	}
	select {
	case path := <-trap:
		t.Errorf("a token had the server ask for %s", path)
	default:
	}
}

// One block serves two hosts, and a token is for one of them.
func TestTokensAreBoundToAHostOfTheBlock(t *testing.T) {
	load(t, strings.Replace(portal("jwt {\n key "+secret+"\n issuer https://{host}\n audience everywhere {host}\n}"),
		"http://portal.example.com:9080", "http://portal.example.com:9080, http://shop.example.com:9080", 1))
	shop := portalHost
	shop.Host = "Shop.Example.com:9080"
	raw := func(issuer string, audience any) string {
		c := claims("USER_1", "a@example.com", time.Hour)
		c["iss"], c["aud"] = issuer, audience
		return sign(t, jwt.SigningMethodHS256, []byte(secret), c, "")
	}
	for _, tt := range []struct {
		name     string
		raw      string
		accepted bool
	}{
		{"of the portal", raw("https://portal.example.com", "portal.example.com"), true},
		{"of the portal for all", raw("https://portal.example.com", []string{"everywhere"}), true},
		{"of the shop", raw("https://shop.example.com", "shop.example.com"), false},
		{"of the shop for the portal", raw("https://shop.example.com", "portal.example.com"), false},
		{"of the portal for the shop", raw("https://portal.example.com", "shop.example.com"), false},
		{"with the placeholder as it is", raw("https://{http.request.host}", "{http.request.host}"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.accepted {
				expectStatus(t, withHeader(portalHost, "Authorization", "Bearer "+tt.raw), http.StatusUnauthorized)
				return
			}
			expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+tt.raw), &ws.User{ID: "USER_1", Email: "a@example.com"})
			expectStatus(t, withHeader(shop, "Authorization", "Bearer "+tt.raw), http.StatusUnauthorized)
		})
	}
	expectUser(t, shop.Dial(t, "Authorization", "Bearer "+raw("https://shop.example.com", "shop.example.com")),
		&ws.User{ID: "USER_1", Email: "a@example.com"})
}

func TestKeySetThatCannotBeHad(t *testing.T) {
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer keys.Close()
	load(t, portal("jwt {\n jwks "+keys.URL+"/keys\n}"))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw := sign(t, jwt.SigningMethodRS256, key, claims("USER_1", "", time.Hour), "r")
	a := portalHost.Request(t, "GET", "/message/socket", "", "Authorization", "Bearer "+raw)
	expectProblem(t, a, http.StatusServiceUnavailable, "unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	c := portalHost.Dial(t)
	c.Send(t, `{"type":"authenticate","id":1,"token":"`+raw+`"}`)
	c.ExpectError(t, "1", "unavailable")
	c.ExpectNothing(t)
}

func TestTokenOfOneHostIsNothingToAnother(t *testing.T) {
	const other = "another-secret-0123456789-0123456789"
	load(t, portal(jwtOptions)+"http://other.example.com:9080 {\n rollcall {\n jwt {\n key "+other+"\n }\n }\n}\n")
	raw := token(t, "USER_1", "a@example.com", time.Hour)
	expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+raw), &ws.User{ID: "USER_1", Email: "a@example.com"})
	second := portalHost
	second.Host = "other.example.com"
	expectStatus(t, withHeader(second, "Authorization", "Bearer "+raw), http.StatusUnauthorized)
}

func TestTokenExpires(t *testing.T) {
	load(t, portal(jwtOptions))
	soon := 3 * time.Second
	start := time.Now()
	brief := portalHost.Dial(t, "Authorization", "Bearer "+token(t, "USER_1", "", soon))
	renewed := portalHost.Dial(t, "Authorization", "Bearer "+token(t, "USER_2", "", soon))
	inBand := portalHost.Dial(t)
	inBand.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_3", "", soon)+`"}`,
		`{"type":"authenticated","user":{"id":"USER_3","email":""}}`)
	renewed.Ask(t, `{"type":"authenticate","token":"`+token(t, "USER_2", "", time.Hour)+`"}`,
		`{"type":"authenticated","user":{"id":"USER_2","email":""}}`)

	ws.ExpectClose(t, brief.Conn, 4001)
	if lasted := time.Since(start); lasted < soon-2*time.Second {
		t.Errorf("closed after %s, before the token expired", lasted)
	}
	ws.ExpectClose(t, inBand.Conn, 4001)
	renewed.ExpectNothing(t)
	portalHost.Await(t, "allusers", `{}`,
		`{"us-east-1":{"authenticated":1,"anonymous":0},"_total":{"authenticated":1,"anonymous":0}}`)
}

func TestOrigin(t *testing.T) {
	load(t, portal("origins https://app.example.com https://*.apps.example.com"))
	tests := map[string]bool{ // by origin
		"http://portal.example.com:9080":       true,
		"https://app.example.com":              true,
		"https://app.example.com:443":          true,
		"https://one.apps.example.com":         true,
		"":                                     true, // no browser
		"http://app.example.com":               false,
		"https://app.example.com:8443":         false,
		"https://app.example.com.evil.example": false,
		"https://two.one.apps.example.com":     false,
		"https://evil.example":                 false,
		"http://portal.example.com:9999":       false,
		"null":                                 false,
		"*":                                    false,
	}
	for origin, allowed := range tests {
		t.Run(origin, func(t *testing.T) {
			r := portalHost.Socket()
			if origin != "" {
				r.Header = ws.Header("Origin", origin)
			}
			conn, resp := ws.Open(t, r)
			if conn == nil {
				t.Fatalf("status %s: a browser cannot see it", resp.Status)
			}
			if !allowed {
				ws.ExpectClose(t, conn, 4003)
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
			if kind, _, err := conn.ReadMessage(); err != nil || kind != websocket.TextMessage {
				t.Errorf("got no welcome: %v", err)
			}
		})
	}
	portalHost.Await(t, "users", `{"channel":"anonymousChat"}`, `{}`)
}
