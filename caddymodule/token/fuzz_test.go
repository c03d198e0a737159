package token

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzVerify checks that only tokens with a header and claims signed by a configured key are
// accepted. Any other ends in one of the three errors, with nothing from the token in its text.
func FuzzVerify(f *testing.F) {
	body := keySetJSON(f, jwk(edKey, fields{"kid": "1"}), jwk(p256Key, fields{"kid": "2"}))
	verifiers := []*Verifier{
		mustNew(f, Config{Secret: testSecret}),
		mustNew(f, Config{PublicKeyPEM: publicPEM(f, edKey, p256Key)}),
		mustNew(f, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()}),
	}

	claims := fields{"sub": "USER_1", "email": "one@example.com", "exp": 4102444800, "aud": []string{"a"}}
	good := []string{
		sign(f, "HS256", testSecret, claims, nil),
		sign(f, "EdDSA", edKey, claims, fields{"kid": "1"}),
		sign(f, "ES256", p256Key, claims, fields{"kid": "2"}),
		signPayload(f, hs256, `{"sub":12e3,"email":null}`),
	}
	signed := make([]string, len(good)) // header and claims
	for i, raw := range good {
		signed[i] = raw[:strings.LastIndexByte(raw, '.')]
		f.Add(raw)
	}
	f.Add(sign(f, "HS256", otherSecret, claims, nil))
	f.Add(sign(f, "HS256", publicPEM(f, edKey), claims, fields{"crit": []string{"b64"}}))
	f.Add(signPayload(f, `{"alg":"none"}`, `{"sub":"\ud800"}`))
	f.Add(signPayload(f, `{"alg":"HS256","kid":7}`, `{"exp":1e400,"sub":1e999999999}`))
	f.Add("..")
	f.Add("")

	gone, cancel := context.WithCancel(f.Context())
	cancel() // nothing waits for another fetch
	for _, v := range verifiers {
		_, _ = v.Verify(f.Context(), good[1], testHost) // waits for the first one
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, v := range verifiers {
			who, err := v.Verify(gone, raw, testHost)
			if err == nil {
				if !slices.Contains(signed, raw[:strings.LastIndexByte(raw, '.')]) {
					t.Errorf("accepted a token that was never signed: %q", raw)
				}
				if who.ID == "" {
					t.Errorf("accepted a token without id: %q", raw)
				}
				continue
			}
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("unexpected error: %v", err)
			}
			if who != (Identity{}) {
				t.Errorf("an identity with the error %v", err)
			}
			checkSilent(t, err, raw)
		}
	})
}

// FuzzParseKeySet checks that any response of an issuer is a usable set or an error, and never a
// panic.
func FuzzParseKeySet(f *testing.F) {
	allowed, err := selectAlgorithms(algorithmNames(ofKind(false)), false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(keySetJSON(f, jwk(edKey, fields{"kid": "1", "use": "sig"}), jwk(p256Key, fields{"alg": "ES256"}), jwk(p521Key, nil)))
	f.Add(keySetJSON(f, fields{"kty": "RSA", "n": encode(bytes.Repeat([]byte{0xff}, 256)), "e": "AQAB", "d": "AQAB"}))
	f.Add(keySetJSON(f, fields{"kty": "oct", "k": "AQAB", "alg": "HS256"}))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","x5c":["AA"],"x5u":"http://a"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet(body, allowed)
		if (set == nil) == (err == nil) {
			t.Errorf("set %v and error %v", set, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
			return
		}
		for name, keys := range set.byAlgorithm {
			if len(keys.all) == 0 || len(keys.byID) == 0 || len(keys.byID) > len(keys.all) {
				t.Errorf("%s: %d keys with %d IDs", name, len(keys.all), len(keys.byID))
			}
		}
	})
}
