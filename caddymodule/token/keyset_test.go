package token

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestKeySetUsesKeysOnlyAsTheirIssuerMeant(t *testing.T) {
	rs256 := []string{"RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA"}
	tests := []struct {
		name string
		key  fields
		alg  string
		by   any
		ok   bool
	}{
		{"plain", jwk(rsaKey(), nil), "RS256", rsaKey(), true},
		{"use sig, alg RS256", jwk(rsaKey(), fields{"use": "sig", "alg": "RS256"}), "RS256", rsaKey(), true},
		{"key_ops verify", jwk(rsaKey(), fields{"key_ops": []string{"verify"}}), "RS256", rsaKey(), true},
		{"no alg, another RSA algorithm", jwk(rsaKey(), nil), "PS256", rsaKey(), true},
		{"x5u is not fetched", jwk(rsaKey(), fields{"x5u": "https://127.0.0.1:1/" + canary}), "RS256", rsaKey(), true},
		{"alg RS384", jwk(rsaKey(), fields{"alg": "RS384"}), "RS256", rsaKey(), false},
		{"alg PS256", jwk(rsaKey(), fields{"alg": "PS256"}), "RS256", rsaKey(), false},
		{"alg HS256", jwk(rsaKey(), fields{"alg": "HS256"}), "RS256", rsaKey(), false},
		{"alg RSA-OAEP", jwk(rsaKey(), fields{"alg": "RSA-OAEP"}), "RS256", rsaKey(), false},
		{"alg none", jwk(rsaKey(), fields{"alg": "none"}), "RS256", rsaKey(), false},
		{"use enc", jwk(rsaKey(), fields{"use": "enc"}), "RS256", rsaKey(), false},
		{"use enc, alg RS256", jwk(rsaKey(), fields{"use": "enc", "alg": "RS256"}), "RS256", rsaKey(), false},
		{"use of a kind of its own", jwk(rsaKey(), fields{"use": "tls"}), "RS256", rsaKey(), false},
		{"key_ops encrypt", jwk(rsaKey(), fields{"key_ops": []string{"encrypt"}}), "RS256", rsaKey(), false},
		{"1024 bits", jwk(weakRSAKey(), nil), "RS256", weakRSAKey(), false},
		{"EC", jwk(p256Key, nil), "ES256", p256Key, true},
		{"P-384", jwk(p384Key, nil), "ES384", p384Key, true},
		{"EC, alg ES384 on P-256", jwk(p256Key, fields{"alg": "ES384"}), "ES256", p256Key, false},
		{"OKP", jwk(edKey, nil), "EdDSA", edKey, true},
		{"OKP, use enc", jwk(edKey, fields{"use": "enc"}), "EdDSA", edKey, false},
	}
	for _, tt := range tests {
		// With another good key of the kind, so that the set is never empty.
		stranger := []fields{jwk(otherRSAKey(), fields{"kid": "x"}), jwk(otherP256Key, fields{"kid": "x"}), jwk(otherP384Key, fields{"kid": "x"}), jwk(otherEdKey, fields{"kid": "x"})}
		tt.key["kid"] = canary
		for name, header := range map[string]fields{"with kid": {"kid": canary}, "without kid": nil} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				body := keySetJSON(t, append(stranger, tt.key)...)
				v := mustNew(t, Config{JWKSURL: "https://issuer.example/keys", Algorithms: rs256, HTTPClient: newIssuer(body).client()})
				raw := sign(t, tt.alg, tt.by, goodClaims(nil), header)
				if tt.ok {
					mustVerify(t, v, raw)
				} else {
					mustRefuse(t, v, raw, ErrInvalid)
				}
			})
		}
	}
}

// A set may contain a secret by mistake. No token can use it.
func TestKeySetNeverHoldsSecrets(t *testing.T) {
	secret := fields{"kty": "oct", "k": encode(testSecret), "kid": canary, "alg": "HS256", "use": "sig"}
	body := keySetJSON(t, secret, jwk(rsaKey(), fields{"kid": "rsa"}))
	v := mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()})
	mustRefuse(t, v, sign(t, "HS256", testSecret, goodClaims(nil), fields{"kid": canary}), ErrInvalid)
	mustRefuse(t, v, sign(t, "HS256", testSecret, goodClaims(nil), nil), ErrInvalid)
	mustVerify(t, v, sign(t, "RS256", rsaKey(), goodClaims(nil), fields{"kid": "rsa"}))
}

func TestKeySetFindsKeysOfOneIDByKind(t *testing.T) {
	body := keySetJSON(t, jwk(p256Key, fields{"kid": "1"}), jwk(edKey, fields{"kid": "1"}))
	v := mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()})
	mustVerify(t, v, sign(t, "ES256", p256Key, goodClaims(nil), fields{"kid": "1"}))
	mustVerify(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), fields{"kid": "1"}))
}

// Two keys with one ID: a token that names it must be signed by the first; a token without an ID,
// by either.
func TestKeySetTakesTheFirstKeyOfAnID(t *testing.T) {
	body := keySetJSON(t, jwk(edKey, fields{"kid": "1"}), jwk(otherEdKey, fields{"kid": "1"}))
	v := mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()})
	mustVerify(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), fields{"kid": "1"}))
	mustRefuse(t, v, sign(t, "EdDSA", otherEdKey, goodClaims(nil), fields{"kid": "1"}), ErrInvalid)
	mustVerify(t, v, sign(t, "EdDSA", otherEdKey, goodClaims(nil), nil))
}

func TestKeySetRefusesOtherKeyIDs(t *testing.T) {
	body := keySetJSON(t, jwk(edKey, fields{"kid": "1"}))
	for _, kid := range []any{"2", "", "1 ", 1, nil, []string{"1"}, fields{"kid": "1"}, "../../" + canary, "1' OR '1'='1"} {
		t.Run(fmt.Sprint(kid), func(t *testing.T) {
			v := mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()})
			mustRefuse(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), fields{"kid": kid}), ErrInvalid)
		})
	}
}

func TestParseKeySet(t *testing.T) {
	allowed, err := selectAlgorithms([]string{"RS256", "ES256", "EdDSA"}, false)
	if err != nil {
		t.Fatal(err)
	}
	good := jwk(edKey, fields{"kid": "1"})
	many := func(n int) []byte {
		keys := make([]fields, n)
		for i := range keys {
			keys[i] = jwk(edKey, fields{"kid": fmt.Sprint(i)})
		}
		return keySetJSON(t, keys...)
	}
	tests := []struct {
		name string
		body []byte
		want string // part of the error; "" if none
	}{
		{"one key", keySetJSON(t, good), ""},
		{"with an unknown kind", keySetJSON(t, fields{"kty": "AKP", "alg": "ML-DSA-44"}, good), ""},
		{"with a broken key", keySetJSON(t, fields{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, good), ""},
		{"with a member of a wrong type", keySetJSON(t, fields{"kty": "RSA", "kid": 7}, good), ""},
		{"with an entry that is not an object", []byte(strings.Replace(string(keySetJSON(t, good)), "[", `[7,null,"x",[],`, 1)), ""},
		{"private key", keySetJSON(t, jwk(edKey, fields{"d": encode(edKey.Seed())})), ""},
		{"100 keys", many(100), ""},
		{"101 keys", many(101), "has 101 keys, the limit is 100"},
		{"no key", keySetJSON(t), "none of the 0 keys in the key set is for RS256, ES256, EdDSA"},
		{"no usable key", keySetJSON(t, jwk(edKey, fields{"use": "enc"})), "none of the 1 keys"},
		{"other object", []byte(`{"error":"x"}`), "none of the 0 keys"},
		{"list", []byte(`[]`), "decode key set"},
		{"null", []byte(`null`), "none of the 0 keys"},
		{"page", []byte(`<html>`), "decode key set"},
		{"empty", nil, "decode key set"},
		{"cut off", bytes.TrimSuffix(keySetJSON(t, good), []byte("}")), "decode key set"},
		{"text after it", append(keySetJSON(t, good), '7'), "decode key set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := parseKeySet(tt.body, allowed)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if set.byAlgorithm["EdDSA"] == nil {
					t.Error("the good key is missing")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not contain %q", err, tt.want)
			}
		})
	}
}
