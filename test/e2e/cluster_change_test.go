package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// authority issues certificates for pods on loopback, into a folder.
type authority struct {
	folder string
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

func newAuthority(t *testing.T, folder string) *authority {
	t.Helper()
	a := &authority{folder: folder}
	a.key, a.cert = a.sign(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue replaces the certificate and the key of a pod.
func (a *authority) issue(t *testing.T, name string) {
	t.Helper()
	a.sign(t, name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.serial++
	template.SerialNumber, template.NotAfter, template.Subject.CommonName = big.NewInt(a.serial), time.Now().Add(time.Hour), name
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+".pem", "CERTIFICATE", der)
	a.write(t, name+"-key.pem", "PRIVATE KEY", private)
	return key, cert
}

func (a *authority) write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.folder, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tls returns the lines of a cluster block.
func (a *authority) tls(name string) string {
	return fmt.Sprintf("tls {\ncert %[1]s/%[2]s.pem\nkey %[1]s/%[2]s-key.pem\nca %[1]s/ca.pem\n}", a.folder, name)
}

// incarnation returns the pod's own incarnation.
func (p *pod) incarnation(t *testing.T) string {
	t.Helper()
	r, err := p.cluster()
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range r.Pods {
		if other.State == "self" {
			return other.Incarnation
		}
	}
	t.Fatalf("%s is not in its own report: %+v", p.Pod, r)
	return ""
}

// TestClusterChanges changes the cluster block of pods that run, again and again, while all pods
// are asked. No complete answer lacks anybody, and nobody leaves in the eyes of a watcher. If only
// what is between pods has changed, the pod stays the same incarnation.
func TestClusterChanges(t *testing.T) {
	t.Parallel()
	names := podNames(3, "eu-west")
	a, addresses := newAuthority(t, t.TempDir()), make([]string, len(names))
	for i := range names {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
		a.issue(t, names[i].Name)
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", podPort(t))
	var pods deployment
	for i, name := range names {
		pods = append(pods, newPod(t, name, "grace 3s", routed(addresses[i], append(addresses, nobody))+"\n"+a.tls(name.Name)))
	}
	pods.run(t)
	s := newScene(t, pods)
	s.pace = 20 * time.Millisecond
	s.awaitViews(pods, s.members())
	last := pods[len(pods)-1]
	another := fmt.Sprintf("listen 127.0.0.1:%d", podPort(t))
	renamed := cluster.Pod{DC: last.DC, Name: "renamed"} // nobody stays with it by that name
	tests := []struct {
		name     string
		change   func(p *pod)
		pods     deployment
		complete bool // all answers are
		another  bool // incarnation
	}{
		{"renewed certificates", func(p *pod) { a.issue(t, p.Name) }, pods, true, false},
		{"other files", func(p *pod) {
			a.issue(t, p.Name+"-next")
			p.setup.globals = strings.ReplaceAll(p.setup.globals, "/"+p.Name, "/"+p.Name+"-next")
		}, pods, true, false},
		{"timeouts", func(p *pod) {
			p.setup.globals = strings.Replace(p.setup.globals, "tls {", "query_timeout 600ms 1700ms\ntls {", 1)
		}, deployment{last}, true, false},
		{"another address", func(p *pod) {
			p.setup.globals = strings.Replace(p.setup.globals, "listen "+addresses[2], another, 1)
		}, deployment{last}, true, false},
		{"fewer routes", func(p *pod) { p.setup.globals = strings.Replace(p.setup.globals, " "+nobody, "", 1) }, deployment{last}, false, false},
		{"another secret", func(p *pod) { p.setup.globals = strings.Replace(p.setup.globals, clusterSecret, clusterSecret+"-2", 1) }, pods, false, true},
		{"another name", func(p *pod) {
			p.setup.globals = strings.Replace(p.setup.globals, "pod "+p.Name, "pod "+renamed.Name, 1)
		}, deployment{last}, false, true},
	}
	for _, tt := range tests {
		begin := time.Now()
		for _, p := range pods {
			o := cluster.NewOutlook(append(pods.names(), renamed))
			o.Begin(begin, renamed, cluster.Unsure, cluster.MayMiss)
			if !tt.complete {
				o.Begin(begin, p.Pod, cluster.MayBeBlind)
			}
			for _, other := range pods {
				if !tt.complete {
					o.Begin(begin, other.Pod, cluster.MayMiss, cluster.MayMissPart)
				}
			}
			s.ask(p, o, 0)
		}
		s.awaitAnswers(begin, 8)
		for _, p := range tt.pods {
			was := p.incarnation(t)
			tt.change(p)
			if status, body, err := p.load(p.setup); err != nil || status != http.StatusOK {
				t.Fatalf("%s: loading into %s: status %d: %s (%v)", tt.name, p.Pod, status, body, err)
			}
			if now := p.incarnation(t); (now != was) != tt.another {
				t.Errorf("%s: the incarnation of %s is %s, before %s", tt.name, p.Pod, now, was)
			}
		}
		changed := time.Now()
		t.Logf("%s: changed in %s", tt.name, changed.Sub(begin))
		ws.Poll(t, 2*ws.Patience, func() error {
			for _, k := range s.askers {
				if _, complete := k.Since(changed); complete < 40 {
					return fmt.Errorf("%s has answered completely %d times", k.Pod, complete)
				}
			}
			return nil
		})
		for _, k := range s.askers {
			if all, complete := k.Since(begin); tt.complete && all != complete {
				t.Errorf("%s: %d of %d answers of %s are incomplete", tt.name, all-complete, all, k.Pod)
			}
		}
		s.stopAsking(tt.name, begin)
		s.awaitViews(pods, s.members())
		for _, p := range pods {
			s.expectEvents(p, begin, 0, s.members(), 0, 0)
		}
	}
}
