package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A token with a key newer than the last fetch is not refused, although a stranger has used up the
// rate of fetches.
func TestRotatedKeyIsNotRefused(t *testing.T) {
	keys := make([]*ecdsa.PrivateKey, 2)
	var set atomic.Pointer[[]byte]
	publish := func(kid string, key *ecdsa.PrivateKey) {
		body, err := json.Marshal(map[string]any{"keys": []any{jwk(t, kid, "ES256", &key.PublicKey)}})
		if err != nil {
			t.Fatal(err)
		}
		set.Store(&body)
	}
	for n := range keys {
		var err error
		if keys[n], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	publish("old", keys[0])
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*set.Load()) }))
	defer issuer.Close()
	load(t, portal("jwt {\n jwks "+issuer.URL+"/keys\n}"))

	signed := func(kid string, n int) string {
		return sign(t, jwt.SigningMethodES256, keys[n], claims("USER_1", "", time.Hour), kid)
	}
	expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+signed("old", 0)), &ws.User{ID: "USER_1"})
	expectStatus(t, withHeader(portalHost, "Authorization", "Bearer "+signed("a stranger's", 0)), http.StatusUnauthorized)
	publish("new", keys[1])
	a := portalHost.Request(t, "GET", "/message/socket", "", "Authorization", "Bearer "+signed("new", 1))
	expectProblem(t, a, http.StatusServiceUnavailable, "unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	c := portalHost.Dial(t)
	c.Send(t, `{"type":"authenticate","id":1,"token":"`+signed("new", 1)+`"}`)
	c.ExpectError(t, "1", "unavailable")
	c.Ask(t, `{"type":"authenticate","token":"`+signed("old", 0)+`"}`, `{"type":"authenticated","user":{"id":"USER_1","email":""}}`)
}

// A reload while the issuer is down ends no login: the site keeps its keys.
func TestReloadNeedsNoIssuer(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{jwk(t, "e", "ES256", &key.PublicKey)}})
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(set)
	}))
	defer issuer.Close()
	options := "jwt {\n jwks " + issuer.URL + "/keys\n}\n"
	load(t, portal(options))
	raw := sign(t, jwt.SigningMethodES256, key, claims("USER_1", "a@example.com", time.Hour), "e")
	user := &ws.User{ID: "USER_1", Email: "a@example.com"}
	expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+raw), user)

	issuer.Close()
	reload(t, portal(options+"ping 20s"))
	expectUser(t, portalHost.Dial(t, "Authorization", "Bearer "+raw), user)

	// Another site must not get these keys, even with the same options.
	second := portalHost
	second.Host = "other.example.com"
	reload(t, portal(options+"ping 20s")+"http://other.example.com:9080 {\n rollcall {\n"+options+" }\n}\n")
	expectStatus(t, withHeader(second, "Authorization", "Bearer "+raw), http.StatusServiceUnavailable)
}
