package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// canary is in every claim and key ID of the tests, so that an error that repeats one is noticed.
const canary = "canary"

// fields are the members of a JSON object.
type fields = map[string]any

var (
	testSecret  = bytes.Repeat([]byte("s"), 64)
	otherSecret = bytes.Repeat([]byte("o"), 64)

	rsaKey      = newRSA(2048)
	otherRSAKey = newRSA(2048)
	weakRSAKey  = newRSA(1024)

	p256Key, otherP256Key = newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
	p384Key, otherP384Key = newECDSA(elliptic.P384()), newECDSA(elliptic.P384())
	p521Key, otherP521Key = newECDSA(elliptic.P521()), newECDSA(elliptic.P521())

	edKey      = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	otherEdKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
)

// newRSA returns a key that is generated on first use, because that takes a while.
func newRSA(bits int) func() *rsa.PrivateKey {
	return sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return k
	})
}

func newECDSA(c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// goodClaims returns the claims of USER_1, valid for a minute, with changes on top: a nil value
// removes a claim.
func goodClaims(changes fields) fields {
	c := fields{
		"sub":   "USER_1 " + canary,
		"email": canary + "@example.com",
		"iss":   "https://issuer.example/" + canary,
		"aud":   []string{"chat", "portal " + canary},
		"iat":   time.Now().Add(-time.Minute).Unix(),
		"exp":   time.Now().Add(time.Minute).Unix(),
	}
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// sign returns a token with the claims, and with header fields in addition to alg and typ.
func sign(tb testing.TB, alg string, key any, claims, header fields) string {
	tb.Helper()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), jwt.MapClaims(claims))
	maps.Copy(t.Header, header)
	raw, err := t.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// signPayload is sign for a payload that no JSON encoder would produce.
func signPayload(tb testing.TB, header, payload string) string {
	tb.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	sig, err := jwt.SigningMethodHS256.Sign(input, testSecret)
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + encode(sig)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// testHost is the host of logins.
const testHost = "portal.example.com"

func mustNew(tb testing.TB, c Config) *Verifier {
	tb.Helper()
	v, err := New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func mustVerify(t *testing.T, v *Verifier, raw string) Identity {
	t.Helper()
	who, err := v.Verify(t.Context(), raw, testHost)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return who
}

// mustRefuse checks that Verify returns exactly the given one of the three errors, no identity, and
// a text without anything from the token.
func mustRefuse(t *testing.T, v *Verifier, raw string, want error) string {
	t.Helper()
	who, err := v.Verify(t.Context(), raw, testHost)
	if err == nil {
		t.Fatalf("Verify accepted the token, want %v", want)
	}
	if who != (Identity{}) {
		t.Errorf("Verify returned an identity with the error %v", err)
	}
	for _, sentinel := range []error{ErrInvalid, ErrExpired, ErrUnavailable} {
		if is := errors.Is(want, sentinel); errors.Is(err, sentinel) != is {
			t.Errorf("errors.Is(%q, %q) = %t, want %t", err, sentinel, !is, is)
		}
	}
	checkSilent(t, err, raw)
	return err.Error()
}

// checkSilent reports an error text that repeats a part of the token.
func checkSilent(t *testing.T, err error, raw string) {
	t.Helper()
	text := err.Error()
	if strings.Contains(text, canary) {
		t.Errorf("the error repeats a claim: %s", text)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) > 16 && strings.Contains(text, part) {
			t.Errorf("the error repeats the token: %s", text)
		}
	}
}

func publicPEM(tb testing.TB, keys ...crypto.Signer) []byte {
	tb.Helper()
	var out bytes.Buffer
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			tb.Fatal(err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil {
			tb.Fatal(err)
		}
	}
	return out.Bytes()
}

// jwk returns the public half of k as a JSON Web Key, with changes on top.
func jwk(k crypto.Signer, changes fields) fields {
	m := fields{}
	switch pub := k.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", encode(pub.N.Bytes()), encode(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"] = "EC", pub.Params().Name
		m["x"], m["y"] = encode(point[1:1+half]), encode(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", encode(pub)
	}
	maps.Copy(m, changes)
	return m
}

func keySetJSON(tb testing.TB, keys ...fields) []byte {
	tb.Helper()
	b, err := json.Marshal(fields{"keys": keys})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
