package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// A reload while the issuer is down takes nobody's log-in away: the site goes on with the keys that it has.
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

	// Another site must not come by these keys, not even with the same options.
	second := portalHost
	second.Host = "other.example.com"
	reload(t, portal(options+"ping 20s")+"http://other.example.com:9080 {\n rollcall {\n"+options+" }\n}\n")
	expectStatus(t, withHeader(second, "Authorization", "Bearer "+raw), http.StatusServiceUnavailable)
}
