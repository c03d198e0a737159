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
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
)

// A reload that changes the cluster block takes no connection out of complete answers.
func TestScenarioReloadChangesTheCluster(t *testing.T) {
	scenario(t, func(t *testing.T) {
		pods := deploy(t, podNames(3, "eu-west"), "grace 1s")
		s := newStage(t, pods)
		victim := pods[2]
		before, begin := victim.setup, time.Now()
		for _, to := range []setup{before.changed(), before, before.changed()} {
			reloaded := time.Now()
			victim.reconfigure(t, to)
			t.Logf("loaded from %s to %s", reloaded.Sub(begin), time.Since(begin))
			s.awaitComplete(time.Now().Add(time.Second))
		}
		s.within(time.Now(), meetAgain)
		s.judge(begin)
	})
}

// A renewed certificate changes without leaving: every answer is complete.
func TestScenarioRenewedCertificate(t *testing.T) {
	scenario(t, func(t *testing.T) {
		folder := t.TempDir()
		a := newCertAuthority(t, folder)
		names := podNames(3, "eu-west")
		addresses := make([]string, len(names))
		for i := range names {
			addresses[i] = fmt.Sprintf("127.0.0.1:%d", podPort(t))
		}
		var pods deployment
		for i, name := range names {
			tls := fmt.Sprintf("\ntls {\ncert %[1]s/%[2]s.pem\nkey %[1]s/%[2]s-key.pem\nca %[1]s/ca.pem\n}", folder, name.Name)
			a.issue(t, name.Name)
			pods = append(pods, newPod(t, name, "grace 1s", routed(addresses[i], addresses)+tls))
		}
		pods.run(t)
		s := newStage(t, pods)
		for _, p := range pods {
			for _, o := range s.outlooks {
				o.End(time.Now(), p.Pod, cluster.MayMiss)
			}
		}
		begin := time.Now()
		for _, p := range pods {
			a.issue(t, p.Name)
			p.reconfigure(t, p.setup)
		}
		s.within(begin, meetAgain)
		for _, p := range pods {
			if all, complete := s.askers[p].Since(begin); all != complete {
				t.Errorf("%d of %d answers of %s are incomplete", all-complete, all, p.Pod)
			}
		}
		s.judge(begin)
	})
}

// reconfigure loads another configuration into a pod.
func (p *pod) reconfigure(t *testing.T, to setup) {
	t.Helper()
	p.setup = to
	p.write(t, to)
	a := p.api.Request(t, http.MethodPost, "/load", p.caddyfile(to), "Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate")
	if a.Status != http.StatusOK {
		t.Fatalf("loading a configuration into %s: status %d: %s", p.Pod, a.Status, a.Body)
	}
}

// certAuthority issues certificates for pods on loopback, into a folder.
type certAuthority struct {
	folder string
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

func newCertAuthority(t *testing.T, folder string) *certAuthority {
	t.Helper()
	a := &certAuthority{folder: folder}
	a.key, a.cert = a.make(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *certAuthority) issue(t *testing.T, name string) {
	t.Helper()
	a.make(t, name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *certAuthority) make(t *testing.T, name string, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.serial++
	template.SerialNumber, template.NotAfter = big.NewInt(a.serial), time.Now().Add(time.Hour)
	template.Subject.CommonName = name
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
	for file, block := range map[string]*pem.Block{
		name + ".pem":     {Type: "CERTIFICATE", Bytes: der},
		name + "-key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(a.folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, cert
}
