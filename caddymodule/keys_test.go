package caddymodule

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
)

// publicKeys are the forms in which people have a public key.
type publicKeys struct {
	pem, pkcs1, pkix, certificate, ssh []byte
}

func makePublicKeys(t *testing.T) (k publicKeys) {
	t.Helper()
	random := mathrand.NewChaCha8([32]byte{1})
	private, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		t.Fatal(err)
	}
	if k.pkix, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	k.pem = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.pkix})
	modulus := new(big.Int).Lsh(big.NewInt(1), 2047)
	k.pkcs1 = x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: modulus.Add(modulus, big.NewInt(1)), E: 65537})
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}}
	if k.certificate, err = x509.CreateCertificate(random, template, template, private.Public(), private); err != nil {
		t.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(random)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{[]byte("ssh-ed25519"), public} {
		k.ssh = binary.BigEndian.AppendUint32(k.ssh, uint32(len(part)))
		k.ssh = append(k.ssh, part...)
	}
	return k
}

const jwk = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`

// A text that others know cannot be the secret of tokens.
func TestKeyThatIsNoSecret(t *testing.T) {
	keys := makePublicKeys(t)
	dir := t.TempDir()
	for _, name := range []string{"issuer.key", "issuer"} {
		if err := os.WriteFile(filepath.Join(dir, name), keys.pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	base := base64.StdEncoding
	for _, test := range []struct{ name, key, want string }{
		{"URL of a key set", "https://login.example.com/jwks.json", "write the URL of a key set as jwks"},
		{"URL of PEM", "https://login.example.com/key.pem", "a URL"},
		{"URL in upper case", "HTTPS://LOGIN.EXAMPLE.COM/JWKS", "a URL"},
		{"URL of a file", "file:///etc/rollcall/issuer", "a URL"},
		{"URL after a space", " https://login.example.com/jwks.json", "a URL"},
		{"JWK", jwk, "JSON"},
		{"JWK after a line", "\n" + jwk + "\n", "JSON"},
		{"JWKS", `{"keys":[` + jwk + `]}`, "JSON"},
		{"list of JWK", `[` + jwk + `]`, "JSON"},
		{"JWK in base64", base.EncodeToString([]byte(jwk)), "JSON in base64"},
		{"SSH RSA", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 ada@example.com", "a public key of SSH"},
		{"SSH Ed25519", "ssh-ed25519 " + base.EncodeToString(keys.ssh), "a public key of SSH"},
		{"SSH ECDSA", "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=", "a public key of SSH"},
		{"SSH of a security key", "sk-ssh-ed25519@openssh.com AAAA", "a public key of SSH"},
		{"SSH2", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "a public key of SSH"},
		{"SSH without its name", base.EncodeToString(keys.ssh), "a public key in base64"},
		{"PEM in base64", base.EncodeToString(keys.pem), "a key as PEM text in base64"},
		{"PEM in base64 with lines", base.EncodeToString(keys.pem)[:64] + "\n" + base.EncodeToString(keys.pem)[64:], "in base64"},
		{"PEM in base64url", base64.RawURLEncoding.EncodeToString(keys.pem), "in base64"},
		{"PEM after a text", "key: " + string(keys.pem), "PEM"},
		{"PEM with lines written out", strings.ReplaceAll(string(keys.pem), "\n", `\n`), "PEM blocks can be decoded"},
		{"DER", base.EncodeToString(keys.pkix), "a public key in base64"},
		{"DER of PKCS #1", base.EncodeToString(keys.pkcs1), "a public key in base64"},
		{"DER of a certificate", base64.URLEncoding.EncodeToString(keys.certificate), "a public key in base64"},
		{"file without .pem", filepath.Join(dir, "issuer.key"), "the path of a file"},
		{"file without extension", filepath.Join(dir, "issuer"), "the path of a file"},
		{"relative file", "issuer", "the path of a file"},
		{"folder", dir, "the path of a file"},
		{"file that is not there", filepath.Join(dir, "other.jwk"), "the path of a file"},
		{"relative file that is not there", "other.key", "the path of a file"},
		{"PEM file that is not there", "other.PEM", "reading the key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("ROLLCALL_TEST_KEY", test.key)
			_, err := load(t, "http://a.example.com {\n\trollcall {\n\t\tjwt {\n\t\t\tkey {env.ROLLCALL_TEST_KEY}\n\t\t}\n\t}\n}")
			if err == nil || !strings.Contains(err.Error(), "jwt: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	t.Run("JWK that is written in place", func(t *testing.T) {
		_, err := load(t, "http://a.example.com {\n\trollcall {\n\t\tjwt {\n\t\t\tkey `"+jwk+"`\n\t\t}\n\t}\n}")
		if err == nil || !strings.Contains(err.Error(), "jwt: key is JSON") {
			t.Errorf("error %v", err)
		}
	})
}

func TestKeyThatIsUsable(t *testing.T) {
	keys := makePublicKeys(t)
	dir := t.TempDir()
	for _, name := range []string{"issuer.pem", "ISSUER.CRT"} {
		if err := os.WriteFile(filepath.Join(dir, name), keys.pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "secret"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, key := range map[string]string{
		"PEM": string(keys.pem), "PEM after a line": "\n\t" + string(keys.pem), "file": "issuer.pem", "extension in upper case": "ISSUER.CRT",
	} {
		c := token.Config{}
		if err := (&JWT{Key: strings.ReplaceAll(key, "{", `\{`)}).readKey(&c); err != nil || !bytes.Contains(c.PublicKeyPEM, bytes.TrimSpace(keys.pem)) || c.Secret != nil {
			t.Errorf("%s: error %v, %d bytes of PEM and %d of a secret", name, err, len(c.PublicKeyPEM), len(c.Secret))
		}
		if _, err := token.New(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []string{
		"secret", "a secret with words", "ssh", "https:/a", "/x.y", "/no/such/folder/issuer.key", "a.b.c.0123456789", "[a]", "\\{", "MTIzNDU2Nzg5MA==",
	} {
		c := token.Config{}
		if err := (&JWT{Key: key}).readKey(&c); err != nil || len(c.Secret) == 0 {
			t.Errorf("%q: error %v", key, err)
		}
	}
}

// No generated secret is refused, neither as jwt key nor elsewhere.
func TestRandomSecretsAreAllTaken(t *testing.T) {
	random := mathrand.NewChaCha8([32]byte{42})
	sizes := mathrand.New(random)
	for i := range 10_000 {
		raw := make([]byte, 16+sizes.IntN(81))
		_, _ = random.Read(raw) // never fails
		var secret string
		switch i % 6 {
		case 0:
			secret = base64.StdEncoding.EncodeToString(raw)
		case 1:
			secret = base64.RawStdEncoding.EncodeToString(raw)
		case 2:
			secret = base64.URLEncoding.EncodeToString(raw)
		case 3:
			secret = base64.RawURLEncoding.EncodeToString(raw)
		case 4:
			secret = hex.EncodeToString(raw)
		default:
			secret = strings.ToUpper(hex.EncodeToString(raw))
		}
		var c token.Config
		if err := (&JWT{Key: secret}).readKey(&c); err != nil || string(c.Secret) != secret {
			t.Fatalf("%q as key: %v", secret, err)
		}
		if key, err := resolveKey("api_key", secret); err != nil || key != secret {
			t.Fatalf("%q as api_key: %v", secret, err)
		}
	}
}

// The other secrets can be mistaken in the same way.
func TestOtherKeysThatAreNoSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rollcall_key")
	if err := os.WriteFile(file, []byte("the key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{file, "https://login.example.com/jwks.json", string(makePublicKeys(t).pem)} {
		_, errAPI := parseAPIKeys([]string{"good", text})
		_, errBackend := (&Backend{URL: "https://app.example.com", Secret: []string{text}}).endpoint(nil)
		_, errCluster := (&ClusterConfig{Listen: "127.0.0.1:6222", Secret: text}).settings("local", "web-1")
		for option, err := range map[string]error{"api_key: number 2": errAPI, "backend: secret: number 1": errBackend, "cluster: secret": errCluster} {
			if err == nil || !strings.HasPrefix(err.Error(), option+" is ") || !strings.Contains(err.Error(), "not a secret") || strings.Contains(err.Error(), text) {
				t.Errorf("%s %q: error %v", option, text, err)
			}
		}
	}
}
