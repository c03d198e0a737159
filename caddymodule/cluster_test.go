package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const clusterSecret = "canary-secret-of-32-characters-00"

func TestClusterSettingsRefuse(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "pod")
	writePair(t, dir, "other")
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("text"), []byte("canary-text"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := &ClusterTLS{Cert: file("pod.pem"), Key: file("pod.key"), CA: file("pod.pem")}
	for _, test := range []struct {
		name string
		c    ClusterConfig
		want string
	}{
		{"nothing", ClusterConfig{}, "write listen, the address for the other pods, or nats"},
		{"both", ClusterConfig{Listen: "127.0.0.1:6222", NATS: []string{"nats://127.0.0.1"}, Secret: clusterSecret}, "exclude each other"},
		{"open to everybody", ClusterConfig{Listen: "127.0.0.1:6222"}, "listen needs a secret or tls"},
		{"routes alone", ClusterConfig{Routes: []string{"127.0.0.1:6222"}}, "routes need listen"},
		{"routes with nats", ClusterConfig{Routes: []string{"127.0.0.1:6222"}, NATS: []string{"nats://127.0.0.1"}}, "routes need listen"},
		{"credentials alone", ClusterConfig{Listen: "127.0.0.1:6222", Secret: clusterSecret, Credentials: file("text")}, "credentials: the file is not one"},
		{"no credentials", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, Credentials: file("none")}, "credentials: reading the file"},
		{"short secret", ClusterConfig{Listen: "127.0.0.1:6222", Secret: "canary-15-chars"}, "fewer than 16 characters"},
		{"empty secret", ClusterConfig{Listen: "127.0.0.1:6222", Secret: "{env.ROLLCALL_NO_SUCH}"}, "secret is empty: is its environment variable set?"},
		{"unknown placeholder", ClusterConfig{Listen: "127.0.0.1:6222", Secret: "{canary}"}, "secret has a placeholder that is not known"},
		{"no port", ClusterConfig{Listen: "127.0.0.1", Secret: clusterSecret}, "listen is not HOST:PORT"},
		{"no host", ClusterConfig{Listen: ":6222", Secret: clusterSecret}, "listen is not HOST:PORT"},
		{"any port", ClusterConfig{Listen: "127.0.0.1:0", Secret: clusterSecret}, "listen is not HOST:PORT"},
		{"named port", ClusterConfig{Listen: "127.0.0.1:nats", Secret: clusterSecret}, "listen is not HOST:PORT"},
		{"URL to listen", ClusterConfig{Listen: "nats://127.0.0.1:6222", Secret: clusterSecret}, "listen is not HOST:PORT"},
		{"bad route", ClusterConfig{Listen: "127.0.0.1:6222", Routes: []string{"127.0.0.1:6223", "canary"}, Secret: clusterSecret}, "routes: number 2 is not HOST:PORT"},
		{"no URL", ClusterConfig{NATS: []string{"canary:canary@127.0.0.1"}}, "nats: number 1 is not a URL like nats://nats.internal:4222"},
		{"other scheme", ClusterConfig{NATS: []string{"nats://127.0.0.1", "https://canary@127.0.0.1"}}, "nats: number 2 is not a URL"},
		{"several URLs in one", ClusterConfig{NATS: []string{"nats://canary@127.0.0.1,nats://127.0.0.2"}}, "nats: number 1 is not a URL"},
		{"name with a dot", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, Name: "a.b"}, `name "a.b": use 1 to 64 letters`},
		{"long name", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, Name: strings.Repeat("a", 65)}, "use 1 to 64 letters"},
		{"negative wait", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, QueryTimeout: -1}, "query_timeout"},
		{"shorter remote wait", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, RemoteQueryTimeout: caddy.Duration(time.Millisecond)}, "query_timeout 500ms 1ms: use durations up to 30s"},
		{"endless wait", ClusterConfig{NATS: []string{"nats://127.0.0.1"}, QueryTimeout: caddy.Duration(time.Minute)}, "query_timeout 1m0s 1m0s"},
		{"half of tls", ClusterConfig{Listen: "127.0.0.1:6222", TLS: &ClusterTLS{CA: whole.CA}}, "cert, key and ca are all needed"},
		{"empty tls", ClusterConfig{Listen: "127.0.0.1:6222", TLS: &ClusterTLS{}}, "cert, key and ca are all needed"},
		{"cert without key", ClusterConfig{NATS: []string{"tls://127.0.0.1"}, TLS: &ClusterTLS{Cert: whole.Cert}}, "cert and key go together"},
		{"no file", ClusterConfig{Listen: "127.0.0.1:6222", TLS: &ClusterTLS{Cert: file("none"), Key: whole.Key, CA: whole.CA}}, "tls: cert: reading the file"},
		{"other key", ClusterConfig{Listen: "127.0.0.1:6222", TLS: &ClusterTLS{Cert: whole.Cert, Key: file("other.key"), CA: whole.CA}}, "tls: cert and key"},
		{"no authority", ClusterConfig{Listen: "127.0.0.1:6222", TLS: &ClusterTLS{Cert: whole.Cert, Key: whole.Key, CA: file("text")}}, "tls: ca: the file has no certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := test.c.settings("local", "web-1")
			if err == nil {
				t.Fatalf("no error, but %+v", s)
			}
			if !strings.HasPrefix(err.Error(), "cluster: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows what can be a secret: %v", err)
			}
		})
	}
}

func TestClusterSettingsAreResolved(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_SECRET", clusterSecret)
	t.Setenv("ROLLCALL_TEST_PEER", "127.0.0.2:6222")
	c := ClusterConfig{Listen: "127.0.0.1:6222", Routes: []string{"{env.ROLLCALL_TEST_PEER}"}, Secret: "{env.ROLLCALL_TEST_SECRET}"}
	s, err := c.settings("us-east-1", "web-1")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "rollcall" || s.DataCenter != "us-east-1" || s.Pod != "web-1" ||
		s.Timeout != 500*time.Millisecond || s.Remote != 1500*time.Millisecond {
		t.Errorf("name %q of %s/%s, timeouts %s and %s", s.Name, s.DataCenter, s.Pod, s.Timeout, s.Remote)
	}
	if s.Bus.Listen != "127.0.0.1:6222" || s.Bus.Routes[0] != "127.0.0.2:6222" || s.Secret != clusterSecret || s.Bus.Secret != clusterSecret {
		t.Errorf("the bus is %+v", s.Bus)
	}
	if c.Secret != "{env.ROLLCALL_TEST_SECRET}" {
		t.Errorf("the configuration has the secret %q now", c.Secret)
	}
	long := ClusterConfig{NATS: []string{"nats://127.0.0.1"}, QueryTimeout: caddy.Duration(4 * time.Second)}
	if s, err = long.settings("a", "b"); err != nil || s.Remote != 4*time.Second {
		t.Errorf("remote timeout %v, error %v", s, err)
	}
}

func TestClusterTLSIsMutualForRoutes(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "pod")
	files := &ClusterTLS{Cert: filepath.Join(dir, "pod.pem"), Key: filepath.Join(dir, "pod.key"), CA: filepath.Join(dir, "pod.pem")}
	routes := ClusterConfig{Listen: "127.0.0.1:6222", TLS: files}
	s, err := routes.settings("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	c := s.Bus.RouteTLS
	if c == nil || c.ClientAuth != tls.RequireAndVerifyClientCert || c.ClientCAs == nil || c.RootCAs == nil || s.Bus.ClientTLS != nil {
		t.Errorf("TLS of the routes: %+v", c)
	}
	client := ClusterConfig{NATS: []string{"tls://127.0.0.1"}, TLS: &ClusterTLS{CA: files.CA}}
	if s, err = client.settings("a", "b"); err != nil {
		t.Fatal(err)
	}
	if c := s.Bus.ClientTLS; c == nil || c.RootCAs == nil || len(c.Certificates) != 0 || s.Bus.RouteTLS != nil {
		t.Errorf("TLS of the client: %+v", c)
	}
}

// Two settings have the same sum only if the cluster can continue.
func TestClusterSettingsAreCompared(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "pod")
	files := &ClusterTLS{Cert: filepath.Join(dir, "pod.pem"), Key: filepath.Join(dir, "pod.key"), CA: filepath.Join(dir, "pod.pem")}
	base := func() ClusterConfig {
		return ClusterConfig{
			Listen: "127.0.0.1:6222", Routes: []string{"127.0.0.2:6222", "127.0.0.3:6222"}, Secret: clusterSecret, TLS: files,
		}
	}
	sum := func(t *testing.T, c ClusterConfig, dc, pod string) [32]byte {
		t.Helper()
		s, err := c.settings(dc, pod)
		if err != nil {
			t.Fatal(err)
		}
		return s.Sum
	}
	want := sum(t, base(), "a", "b")
	if sum(t, base(), "a", "b") != want {
		t.Error("the same settings have two sums")
	}
	t.Setenv("ROLLCALL_TEST_SECRET", clusterSecret)
	same := base()
	same.Secret, same.QueryTimeout = "{env.ROLLCALL_TEST_SECRET}", caddy.Duration(defaultQuery)
	if sum(t, same, "a", "b") != want {
		t.Error("the same settings in other words have another sum")
	}
	for name, change := range map[string]func(*ClusterConfig){
		"listen":  func(c *ClusterConfig) { c.Listen = "127.0.0.1:6223" },
		"routes":  func(c *ClusterConfig) { c.Routes = c.Routes[:1] },
		"route":   func(c *ClusterConfig) { c.Routes = []string{"127.0.0.2:62221", "27.0.0.3:6222"} },
		"secret":  func(c *ClusterConfig) { c.Secret += "x" },
		"tls":     func(c *ClusterConfig) { c.TLS = nil },
		"name":    func(c *ClusterConfig) { c.Name = "other" },
		"timeout": func(c *ClusterConfig) { c.QueryTimeout = caddy.Duration(time.Second) },
		"remote":  func(c *ClusterConfig) { c.RemoteQueryTimeout = caddy.Duration(2 * time.Second) },
	} {
		c := base()
		change(&c)
		if sum(t, c, "a", "b") == want {
			t.Errorf("another %s has the same sum", name)
		}
	}
	if sum(t, base(), "ab", "") == want || sum(t, base(), "a", "c") == want {
		t.Error("another pod has the same sum")
	}
	writePair(t, dir, "pod")
	if sum(t, base(), "a", "b") == want {
		t.Error("another certificate in the same file has the same sum")
	}
}

func TestClusterSecretIsInNoLog(t *testing.T) {
	for _, test := range []struct {
		secret string
		warned bool
	}{{"canary-secret-20-char", true}, {clusterSecret, false}} {
		dir, err := os.MkdirTemp(os.Getenv("XDG_DATA_HOME"), "log") // Caddy writes to it after the test, so TestMain removes it
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "log")
		ctx := newContext(t, "{\n\trollcall {\n\t\tcluster {\n\t\t\tlisten 127.0.0.1:6222\n\t\t\tsecret "+test.secret+"\n\t\t}\n\t}\n}", file)
		if _, err := ctx.App("rollcall"); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(file)
		if err != nil && test.warned {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "canary") {
			t.Errorf("the log shows the secret:\n%s", log)
		}
		if got := strings.Contains(string(log), "the secret of the cluster is short"); got != test.warned {
			t.Errorf("warned %v about a secret of %d characters:\n%s", got, len(test.secret), log)
		}
	}
}

// writePair writes a certificate that is its own authority, and its key.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: cert},
		name + ".key": {Type: "PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
