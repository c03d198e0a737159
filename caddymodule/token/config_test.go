package token

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	const keys = "https://issuer.example/keys"
	der, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := x509.MarshalPKIXPublicKey(x25519.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	edPEM := publicPEM(t, edKey)

	tests := []struct {
		name   string
		config Config
		want   string // part of the error
	}{
		{"nothing", Config{}, "no key is configured: write key with a secret"},
		{"secret and PEM", Config{Secret: testSecret, PublicKeyPEM: edPEM}, "write only one of key and jwks"},
		{"secret and key set", Config{Secret: testSecret, JWKSURL: keys}, "write only one of key and jwks"},
		{"PEM and key set", Config{PublicKeyPEM: edPEM, JWKSURL: keys}, "write only one of key and jwks"},

		{"PEM as secret", Config{Secret: edPEM}, "configure it as a PEM public key"},

		{"none", Config{Secret: testSecret, Algorithms: []string{"none"}}, `"none" is always refused`},
		{"None with PEM", Config{PublicKeyPEM: edPEM, Algorithms: []string{"EdDSA", "None"}}, `"none" is always refused`},
		{"NONE with key set", Config{JWKSURL: keys, Algorithms: []string{"NONE"}}, `"none" is always refused`},
		{"unknown algorithm", Config{Secret: testSecret, Algorithms: []string{"HS265"}}, `unknown algorithm "HS265": use one of HS256`},
		{"algorithm in lower case", Config{Secret: testSecret, Algorithms: []string{"hs256"}}, `unknown algorithm "hs256"`},
		{"empty algorithm", Config{Secret: testSecret, Algorithms: []string{""}}, `unknown algorithm ""`},
		{"RS256 with secret", Config{Secret: testSecret, Algorithms: []string{"RS256"}}, "RS256 needs a public key or a key set"},
		{"HS256 with PEM", Config{PublicKeyPEM: edPEM, Algorithms: []string{"EdDSA", "HS256"}}, "HS256 needs a secret"},
		{"HS512 with key set", Config{JWKSURL: keys, Algorithms: []string{"HS512"}}, "HS512 needs a secret"},
		{"algorithm without key", Config{PublicKeyPEM: edPEM, Algorithms: []string{"EdDSA", "ES256"}}, "algorithm ES256 fits none of the PEM keys"},
		{"curve of another algorithm", Config{PublicKeyPEM: publicPEM(t, p384Key), Algorithms: []string{"ES256"}}, "ES256 fits none"},
		{"key without algorithm", Config{PublicKeyPEM: publicPEM(t, edKey, p256Key), Algorithms: []string{"EdDSA"}}, "key 2 of the PEM text fits none"},

		{"text instead of PEM", Config{PublicKeyPEM: []byte("public.pem")}, "no PEM block"},
		{"private key", Config{PublicKeyPEM: private}, "a private key"},
		{"other PEM", Config{PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "X509 CRL"})}, `a "X509 CRL" cannot verify tokens`},
		{"damaged PEM", Config{PublicKeyPEM: append(bytes.Clone(edPEM), edPEM[:40]...)}, "only 1 of 2 PEM blocks can be decoded"},
		{"damaged key", Config{PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})}, "PEM block 1: asn1"},
		{"weak RSA key", Config{PublicKeyPEM: publicPEM(t, weakRSAKey())}, "unsupported key: use RSA of 2048"},
		{"key exchange", Config{PublicKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: exchange})}, "unsupported key"},

		{"http", Config{JWKSURL: "http://issuer.example/keys"}, "not https"},
		{"http to a private address", Config{JWKSURL: "http://10.0.0.1/keys"}, "not https"},
		{"http to a host that begins like loopback", Config{JWKSURL: "http://localhost.evil.example/keys"}, "not https"},
		{"file", Config{JWKSURL: "file://localhost/etc/keys"}, "not https"},
		{"path", Config{JWKSURL: "/etc/keys.json"}, "has no host"},
		{"user", Config{JWKSURL: "https://" + canary + ":" + canary + "@issuer.example/keys"}, "has a user"},
		{"malformed", Config{JWKSURL: "https://issuer.example/" + canary + "%"}, "malformed"},

		{"long leeway", Config{Secret: testSecret, Leeway: time.Hour}, "leeway 1h0m0s is too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.HTTPClient = noRequests(t)
			v, err := New(t.Context(), tt.config)
			if err == nil {
				t.Fatal("New accepted the configuration")
			}
			if v != nil {
				t.Error("New returned a Verifier with an error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not contain %q", err, tt.want)
			}
			checkSilent(t, err, string(testSecret[:31]))
		})
	}
}

// noRequests returns a client that fails the test on use.
func noRequests(t *testing.T) *http.Client {
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		t.Errorf("request to %s", req.URL)
		return nil, http.ErrUseLastResponse
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestNewDefaultAlgorithms(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"secret", Config{Secret: testSecret}, "HS256"},
		{"RSA", Config{PublicKeyPEM: publicPEM(t, rsaKey())}, "RS256"},
		{"P-256", Config{PublicKeyPEM: publicPEM(t, p256Key)}, "ES256"},
		{"P-384", Config{PublicKeyPEM: publicPEM(t, p384Key)}, "ES384"},
		{"P-521", Config{PublicKeyPEM: publicPEM(t, p521Key)}, "ES512"},
		{"Ed25519", Config{PublicKeyPEM: publicPEM(t, edKey)}, "EdDSA"},
		{"several", Config{PublicKeyPEM: publicPEM(t, edKey, rsaKey(), otherEdKey)}, "EdDSA, RS256"},
		{"repeated", Config{Secret: testSecret, Algorithms: []string{"HS512", "HS256", "HS512"}}, "HS512, HS256"},
		{"key set", Config{JWKSURL: "https://issuer.example/keys", HTTPClient: newIssuer(nil).client()}, "RS256, ES256, EdDSA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := joinNames(mustNew(t, tt.config).allowed); got != tt.want {
				t.Errorf("algorithms = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNewTakesKeySetsOnLoopbackOverHTTP(t *testing.T) {
	for _, u := range []string{"http://localhost:8080/keys", "http://LOCALHOST/keys", "http://127.0.0.1/keys", "http://127.8.9.1/keys", "http://[::1]:80/keys"} {
		mustNew(t, Config{JWKSURL: u, HTTPClient: newIssuer(nil).client()})
	}
}

// The fetch of this test never ends: New would not return if it waited for it.
func TestNewDoesNotWaitForTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(nil)
		defer i.hold()()
		begun := time.Now()
		mustNew(t, Config{JWKSURL: "https://issuer.example/keys", HTTPClient: i.client()})
		if took := time.Since(begun); took != 0 {
			t.Errorf("New took %v", took)
		}
	})
}

func TestNewKeepsItsOwnSecret(t *testing.T) {
	secret := bytes.Clone(testSecret)
	v := mustNew(t, Config{Secret: secret})
	clear(secret)
	mustVerify(t, v, sign(t, "HS256", testSecret, goodClaims(nil), nil))
}

func TestNewTakesCertificates(t *testing.T) {
	ca := certificate(t, "CA", "CA", p256Key.Public(), p256Key)
	leaf := certificate(t, "signer", "CA", edKey.Public(), p256Key)
	selfSigned := certificate(t, "self", "self", edKey.Public(), edKey)
	again := certificate(t, "self", "self", otherEdKey.Public(), otherEdKey)

	v := mustNew(t, Config{PublicKeyPEM: leaf})
	mustVerify(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), nil))
	mustRefuse(t, v, sign(t, "ES256", p256Key, goodClaims(nil), nil), ErrInvalid)

	v = mustNew(t, Config{PublicKeyPEM: append(selfSigned, again...)})
	mustVerify(t, v, sign(t, "EdDSA", edKey, goodClaims(nil), nil))
	mustVerify(t, v, sign(t, "EdDSA", otherEdKey, goodClaims(nil), nil))

	_, err := New(t.Context(), Config{PublicKeyPEM: append(leaf, ca...)})
	if err == nil || !strings.Contains(err.Error(), "certificate 2 is the issuer of certificate 1") {
		t.Errorf("New with a chain: %v", err)
	}
}

func certificate(t *testing.T, subject, issuer string, pub, signer any) []byte {
	t.Helper()
	name := func(s string) pkix.Name { return pkix.Name{CommonName: s} }
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name(subject), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: name(issuer)}, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
