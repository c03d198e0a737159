package token

import (
	"testing"
	"testing/synctest"
)

// A reload makes a new Verifier for the same site while the issuer is unreachable.
func TestInheritedKeysVerifyWithoutTheIssuer(t *testing.T) {
	const otherURL = "https://other.example/keys"
	for _, tt := range []struct {
		name   string
		config Config
		ok     bool
	}{
		{"same URL", Config{JWKSURL: keysURL}, true},
		{"other URL", Config{JWKSURL: otherURL}, false},
		{"other algorithms", Config{JWKSURL: keysURL, Algorithms: []string{"RS256"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
				before := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: up.client()})
				mustVerify(t, before, edToken(t, "1"))

				down := newIssuer(nil)
				defer down.hold()()
				tt.config.HTTPClient = down.client()
				after := mustNew(t, tt.config)
				after.Inherit(before)
				if !tt.ok {
					_, err := after.Verify(t.Context(), edToken(t, "1"), testHost)
					if err == nil {
						t.Error("keys of another source were inherited")
					}
					return
				}
				if who := mustVerify(t, after, edToken(t, "1")); who.ID == "" {
					t.Error("no token was verified")
				}
			})
		})
	}
}

func TestInheritLeavesOtherKeysAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := mustNew(t, Config{Secret: testSecret})
		set := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"}))).client()})
		secret.Inherit(set)
		set.Inherit(secret)
		mustVerify(t, set, edToken(t, "1"))
		mustRefuse(t, secret, edToken(t, "1"), ErrInvalid)
	})
}
