package token

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signer is one algorithm with the configuration that accepts it.
type signer struct {
	alg        string
	key, other any // signs good tokens; signs a stranger's
	config     Config
}

func signers(t *testing.T) []signer {
	public := func(alg string, key, other crypto.Signer) signer {
		return signer{alg, key, other, Config{PublicKeyPEM: publicPEM(t, key), Algorithms: []string{alg}}}
	}
	remote := func(alg string, key, other crypto.Signer) signer {
		body := keySetJSON(t, jwk(key, fields{"kid": canary}))
		return signer{alg, key, other, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()}}
	}
	return []signer{
		{"HS256", testSecret, otherSecret, Config{Secret: testSecret}},
		{"HS384", testSecret, otherSecret, Config{Secret: testSecret, Algorithms: []string{"HS384"}}},
		{"HS512", testSecret, otherSecret, Config{Secret: testSecret, Algorithms: []string{"HS512"}}},
		public("RS256", rsaKey(), otherRSAKey()),
		public("RS512", rsaKey(), otherRSAKey()),
		public("PS256", rsaKey(), otherRSAKey()),
		public("ES256", p256Key, otherP256Key),
		public("ES384", p384Key, otherP384Key),
		public("ES512", p521Key, otherP521Key),
		public("EdDSA", edKey, otherEdKey),
		remote("RS256", rsaKey(), otherRSAKey()),
		remote("ES256", p256Key, otherP256Key),
		remote("EdDSA", edKey, otherEdKey),
	}
}

func TestVerify(t *testing.T) {
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	tests := []struct {
		name    string
		changes fields // changes to good claims
		header  fields
		other   bool // signed by a stranger
		none    bool // not signed
		want    error
	}{
		{name: "good"},
		{name: "no exp", changes: fields{"exp": nil}},
		{name: "single audience", changes: fields{"aud": "portal " + canary}},
		{name: "valid since a while", changes: fields{"nbf": past}},
		{name: "expired", changes: fields{"exp": past}, want: ErrExpired},
		{name: "another key", other: true, want: ErrInvalid},
		{name: "another key and expired", other: true, changes: fields{"exp": past}, want: ErrInvalid},
		{name: "not signed", none: true, want: ErrInvalid},
		{name: "another issuer", changes: fields{"iss": "https://evil.example"}, want: ErrInvalid},
		{name: "issuer as prefix", changes: fields{"iss": "https://issuer.example/" + canary + "/"}, want: ErrInvalid},
		{name: "no issuer", changes: fields{"iss": nil}, want: ErrInvalid},
		{name: "issuer of a wrong type", changes: fields{"iss": []string{"https://issuer.example/" + canary}}, want: ErrInvalid},
		{name: "another issuer and expired", changes: fields{"iss": "https://evil.example", "exp": past}, want: ErrInvalid},
		{name: "another audience", changes: fields{"aud": "admin"}, want: ErrInvalid},
		{name: "no audience", changes: fields{"aud": nil}, want: ErrInvalid},
		{name: "empty audience", changes: fields{"aud": []string{}}, want: ErrInvalid},
		{name: "audience of a wrong type", changes: fields{"aud": 7}, want: ErrInvalid},
		{name: "not valid yet", changes: fields{"nbf": future}, want: ErrInvalid},
		{name: "issued in the future", changes: fields{"iat": future}, want: ErrInvalid},
		{name: "critical header", header: fields{"crit": []string{"b64"}, "b64": false}, want: ErrInvalid},
		{name: "empty critical header", header: fields{"crit": []string{}}, want: ErrInvalid},
	}
	for i, s := range signers(t) {
		s.config.Issuer = "https://issuer.example/" + canary
		s.config.Audiences = []string{"portal " + canary}
		v := mustNew(t, s.config)
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s %d/%s", s.alg, i, tt.name), func(t *testing.T) {
				alg, key := s.alg, s.key
				switch {
				case tt.other:
					key = s.other
				case tt.none:
					alg, key = "none", jwt.UnsafeAllowNoneSignatureType
				}
				header := fields{"kid": canary}
				maps.Copy(header, tt.header)
				raw := sign(t, alg, key, goodClaims(tt.changes), header)
				if tt.want != nil {
					mustRefuse(t, v, raw, tt.want)
					return
				}
				who := mustVerify(t, v, raw)
				if want := "USER_1 " + canary; who.ID != want {
					t.Errorf("ID = %q, want %q", who.ID, want)
				}
				if want := canary + "@example.com"; who.Email != want {
					t.Errorf("Email = %q, want %q", who.Email, want)
				}
			})
		}
	}
}

func TestVerifyRefusesOtherAlgorithms(t *testing.T) {
	all := signers(t)
	for i, s := range all {
		for j, o := range all {
			v := mustNew(t, s.config)
			if o.alg == s.alg || s.config.JWKSURL != "" && j >= len(all)-3 {
				continue // a key set allows three algorithms
			}
			raw := sign(t, o.alg, o.key, goodClaims(nil), nil)
			text := mustRefuse(t, v, raw, ErrInvalid)
			if s.config.JWKSURL == "" && !strings.HasSuffix(text, "its algorithm is not one of "+s.alg) {
				t.Errorf("%d %s: the error for %s is %q", i, s.alg, o.alg, text)
			}
		}
	}
}

// An attacker tries the public key, in all its spellings, as an HMAC secret.
func TestVerifyNeverTakesPublicKeyForSecret(t *testing.T) {
	pub := &rsaKey().PublicKey
	pkix, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	pemText := publicPEM(t, rsaKey())
	body := keySetJSON(t, jwk(rsaKey(), fields{"kid": canary}))
	secrets := map[string][]byte{
		"PEM":               pemText,
		"PEM without break": []byte(strings.TrimSpace(string(pemText))),
		"PKIX":              pkix,
		"PKCS 1":            x509.MarshalPKCS1PublicKey(pub),
		"PKCS 1 PEM":        pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(pub)}),
		"modulus":           pub.N.Bytes(),
		"modulus as text":   []byte(encode(pub.N.Bytes())),
		"key set":           body,
		"empty":             {},
	}
	verifiers := map[string]*Verifier{
		"PEM":     mustNew(t, Config{PublicKeyPEM: pemText}),
		"key set": mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(body).client()}),
	}
	for kind, v := range verifiers {
		for spelling, secret := range secrets {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				t.Run(kind+"/"+spelling+"/"+alg, func(t *testing.T) {
					mustRefuse(t, v, sign(t, alg, secret, goodClaims(nil), fields{"kid": canary}), ErrInvalid)
					mustRefuse(t, v, sign(t, alg, secret, goodClaims(nil), nil), ErrInvalid)
				})
			}
		}
	}
}

func TestVerifyRefusesMalformedTokens(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret})
	good := sign(t, "HS256", testSecret, goodClaims(nil), nil)
	parts := strings.Split(good, ".")
	alg := `{"alg":"HS256"}`
	tests := map[string]string{
		"empty":                 "",
		"dots":                  "..",
		"no signature":          parts[0] + "." + parts[1] + ".",
		"two parts":             parts[0] + "." + parts[1],
		"five parts":            good + ".a.b",
		"payload of another":    parts[0] + "." + encode([]byte(`{"sub":"ADMIN"}`)) + "." + parts[2],
		"header of another":     encode([]byte(`{"alg":"HS256","typ":"jwt"}`)) + "." + parts[1] + "." + parts[2],
		"bearer prefix":         "Bearer " + good,
		"trailing line break":   good + "\n",
		"line break inside":     good[:10] + "\r\n" + good[10:],
		"padding":               good + "=",
		"not base64url":         parts[0] + "." + strings.Repeat("+", 20) + "." + parts[2],
		"spare bits set":        spareBitsSet(good),
		"NUL":                   good + "\x00",
		"header is no JSON":     signPayload(t, "alg", `{"sub":"`+canary+`"}`),
		"header is a list":      signPayload(t, "[]", `{"sub":"`+canary+`"}`),
		"header is null":        signPayload(t, "null", `{"sub":"`+canary+`"}`),
		"no alg":                signPayload(t, "{}", `{"sub":"`+canary+`"}`),
		"alg is a number":       signPayload(t, `{"alg":256}`, `{"sub":"`+canary+`"}`),
		"unknown alg":           signPayload(t, `{"alg":"`+canary+`"}`, `{"sub":"`+canary+`"}`),
		"alg in lower case":     signPayload(t, `{"alg":"hs256"}`, `{"sub":"`+canary+`"}`),
		"payload is no JSON":    signPayload(t, alg, canary),
		"payload is null":       signPayload(t, alg, "null"),
		"payload is a list":     signPayload(t, alg, `["`+canary+`"]`),
		"payload is a string":   signPayload(t, alg, `"`+canary+`"`),
		"text after payload":    signPayload(t, alg, `{"sub":"`+canary+`"} {}`),
		"payload is not UTF-8":  signPayload(t, alg, "{\"sub\":\""+canary+"\xff\"}"),
		"other claim not UTF-8": signPayload(t, alg, "{\"sub\":\"u\",\"name\":\"\xff\"}"),
		"deeply nested payload": signPayload(t, alg, strings.Repeat("[", 3000)),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) { mustRefuse(t, v, raw, ErrInvalid) })
	}
	mustVerify(t, v, good)
}

// spareBitsSet returns another spelling of the signature of an HS256 token: the last of its 43
// characters has two unused bits.
func spareBitsSet(raw string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(raw) - 1
	return raw[:last] + string(digits[strings.IndexByte(digits, raw[last])+1])
}

func TestVerifyBoundsTheToken(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret})
	sized := func(pad int) string {
		return sign(t, "HS256", testSecret, goodClaims(fields{"pad": strings.Repeat("p", pad)}), nil)
	}
	pad := 5000
	for len(sized(pad+1)) <= maxTokenBytes {
		pad++
	}
	mustVerify(t, v, sized(pad))
	text := mustRefuse(t, v, sized(pad+1), ErrInvalid)
	if !strings.Contains(text, "longer than 8192 bytes") {
		t.Errorf("the error does not say that the token is too long: %s", text)
	}
}

func TestVerifyLeeway(t *testing.T) {
	tests := []struct {
		name   string
		leeway time.Duration
		skew   time.Duration // time since exp, which no leeway extends, or time until nbf and iat
		ok     bool
	}{
		{"default, within", 0, 3 * time.Second, true},
		{"default, beyond", 0, DefaultLeeway + 2*time.Second, false},
		{"none", -1, 2 * time.Second, false},
		{"a minute, within", time.Minute, 50 * time.Second, true},
		{"a minute, beyond", time.Minute, 70 * time.Second, false},
	}
	for _, tt := range tests {
		v := mustNew(t, Config{Secret: testSecret, Leeway: tt.leeway})
		behind, ahead := time.Now().Add(-tt.skew).Unix(), time.Now().Add(tt.skew).Unix()
		for claim, when := range map[string]int64{"exp": behind, "nbf": ahead, "iat": ahead} {
			t.Run(tt.name+"/"+claim, func(t *testing.T) {
				raw := sign(t, "HS256", testSecret, goodClaims(fields{claim: when}), nil)
				switch {
				case claim == "exp":
					mustRefuse(t, v, raw, ErrExpired)
				case tt.ok:
					mustVerify(t, v, raw)
				default:
					mustRefuse(t, v, raw, ErrInvalid)
				}
			})
		}
	}
}

func TestVerifyTriesEveryPEMKeyOfTheAlgorithm(t *testing.T) {
	v := mustNew(t, Config{PublicKeyPEM: publicPEM(t, rsaKey(), edKey, p256Key, otherRSAKey())})
	mustVerify(t, v, sign(t, "RS256", rsaKey(), goodClaims(nil), fields{"kid": "ignored"}))
	mustVerify(t, v, sign(t, "RS256", otherRSAKey(), goodClaims(nil), nil))
	mustVerify(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), nil))
	mustVerify(t, v, sign(t, "ES256", p256Key, goodClaims(nil), nil))
	mustRefuse(t, v, sign(t, "EdDSA", otherEdKey, goodClaims(nil), nil), ErrInvalid)
}

func TestErrExpiredIsErrInvalid(t *testing.T) {
	if !errors.Is(ErrExpired, ErrInvalid) {
		t.Error("ErrExpired is not an ErrInvalid")
	}
	if errors.Is(ErrUnavailable, ErrInvalid) {
		t.Error("ErrUnavailable is an ErrInvalid")
	}
}
