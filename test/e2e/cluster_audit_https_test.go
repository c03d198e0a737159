package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// TestAuditOverHTTPS audits a pod behind TLS without an end, reads its metrics, and stops it with
// Ctrl-C.
func TestAuditOverHTTPS(t *testing.T) {
	t.Parallel()
	pods := deployAudited(t, 1)
	to, err := url.Parse(pods[0].site.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}})
	files, certificate := certificateOf(t, auditHost)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	front.StartTLS()
	t.Cleanup(front.Close)

	metrics := loopback.AddressFor(t)
	cmd := exec.Command(caddyPath, "rollcall", "audit", "--host", auditHost, "--config", pods[0].file, "--duration", "0",
		"--users", "3", "--metrics", metrics, "--pod", pods[0].String()+"="+front.URL)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+files)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	read := func() string {
		resp, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	judged := regexp.MustCompile(`(?m)^rollcall_audit_answers_total\{pod="` + pods[0].String() + `",result="complete"\} [1-9]`)
	joined := regexp.MustCompile(`(?m)^rollcall_audit_joins_total\{pod="` + pods[0].String() + `",result="joined"\} [1-9]`)
	testkit.Eventually(t, "answers and joins in the metrics", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the audit has ended: %v\n%s\n%s", err, &out, &log)
		default:
		}
		text := read()
		return judged.MatchString(text) && joined.MatchString(text)
	})
	if text := read(); !strings.Contains(text, `rollcall_audit_wrong_answers_total{pod="`+pods[0].String()+`"} 0`) {
		t.Errorf("metrics:\n%s", text)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the audit does not end at Ctrl-C")
	}
	if err != nil || !strings.Contains(out.String(), "no complete answer is wrong") {
		t.Errorf("%v\n%s\n%s", err, &out, &log)
	}
}

// certificateOf returns a certificate of a host that signs itself, and the file that it is in.
func certificateOf(t *testing.T, host string) (file string, c tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
