package docs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// deployment has the three pods of examples/cluster.
type deployment struct {
	env   []string
	pods  map[string]*server // by name
	pairs []string           // addresses that the example prints, each followed by its replacement
}

// The pods that the script of the example starts, in order.
var deployed = []string{"web-1", "web-2", "web-3"}

// deploy starts the pods for the examples that follow, and opens connections.
func (p page) deploy(t *testing.T, o order) *server {
	t.Helper()
	s := &server{home: t.TempDir(), deployment: deployment{pods: make(map[string]*server)}}
	var ports []string
	for i, shown := range []int{8101, 8102, 8103, 2101, 2102, 2103, 6201, 6202, 6203} {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		ports = append(ports, port)
		s.pairs = append(s.pairs, "localhost:"+strconv.Itoa(shown), addr)
		if i < len(deployed) {
			s.pods[deployed[i]] = &server{addr: addr}
		}
	}
	s.addr, s.admin = s.pairs[1], s.pairs[7]
	s.env = append(os.Environ(), "ROLLCALL_CADDY="+caddy, "ROLLCALL_CLUSTER_STATE="+s.home, "ROLLCALL_CLUSTER_PORTS="+strings.Join(ports, " "))

	process.Start(t, s.script(), func() error { return nil })
	for _, pod := range deployed {
		s.await(t, pod, func(header http.Header) bool { return header.Get("Rollcall-Complete") == "true" })
	}
	for who := range strings.FieldsSeq(o.args) {
		pod, client, _ := strings.Cut(who, ":")
		if s.pods[pod] == nil {
			t.Fatalf("%s:%d: no pod %s", p.name, o.line, pod)
		}
		s.pods[pod].enter(t, []string{client})
	}
	return s
}

// script returns the command that runs the example's script with arguments.
func (d *deployment) script(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(root, "examples", "cluster", "run"), args...)
	cmd.Env = d.env
	return cmd
}

// command passes a command for a pod to the script, and waits until web-1 misses that pod and can
// be made to forget it.
func (s *server) command(t *testing.T, args ...string) {
	t.Helper()
	if len(args) != 2 || s == nil || s.pods[args[1]] == nil {
		t.Fatalf("not a command and a pod that was deployed: %q", args)
	}
	if out, err := s.script(args...).CombinedOutput(); err != nil {
		t.Fatalf("run %q: %v\n%s", args, err, out)
	}
	s.await(t, deployed[0], func(header http.Header) bool { return strings.HasSuffix(header.Get("Rollcall-Missing"), "/"+args[1]) })
	unreachable := regexp.MustCompile(`"pod":"` + args[1] + `","incarnation":"[^"]*","state":"unreachable"`)
	report := ""
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if report = s.report(t); unreachable.MatchString(report) {
			return
		}
	}
	t.Fatalf("%s is not unreachable: %s", args[1], report)
}

// report returns what web-1 reports about the cluster.
func (s *server) report(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + s.admin + "/rollcall/cluster")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// await polls a pod until the header of its answer is right. It asks another question than the
// pages do, because a pod repeats an answer for 100 ms, and clients join faster.
func (s *server) await(t *testing.T, pod string, right func(http.Header) bool) {
	t.Helper()
	last := "no answer"
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Post("http://"+s.pods[pod].addr+"/message/allusers", "application/json",
			strings.NewReader(`{"apiKey":"`+apiKey+`","dedupeUsers":false,"includeUsers":true}`))
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if right(resp.Header) {
			return
		}
		last = fmt.Sprint(resp.Status, resp.Header)
	}
	t.Fatalf("%s still answers: %s", pod, last)
}

// TestNATSConfigurationsAreRead loads every configuration of NATS on the pages into the NATS
// server.
func TestNATSConfigurationsAreRead(t *testing.T) {
	count := 0
	for _, p := range checked(t) {
		for _, b := range p.blocks {
			if b.lang != "conf" {
				continue
			}
			count++
			file := filepath.Join(t.TempDir(), "nats-server.conf")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			opts, err := natsserver.ProcessConfigFile(file)
			if err != nil {
				t.Errorf("%s:%d: %v", p.name, b.line, err)
				continue
			}
			// With a longer timeout, NATS loses payloads on a dead link for longer than pods wait
			// for each other.
			for name, silent := range map[string]time.Duration{
				"gateways": opts.PingInterval * time.Duration(opts.MaxPingsOut+1),
				"routes":   opts.Cluster.PingInterval * time.Duration(opts.Cluster.MaxPingsOut+1),
			} {
				if silent == 0 || silent > 5*time.Second {
					t.Errorf("%s:%d: %s notice after %s that a link is dead", p.name, b.line, name, silent)
				}
			}
			if opts.Gateway.Name != opts.Cluster.Name || len(opts.Gateway.Gateways) == 0 {
				t.Errorf("%s:%d: no gateways of the cluster %s", p.name, b.line, opts.Cluster.Name)
			}
		}
	}
	if count == 0 {
		t.Error("no configuration of NATS found")
	}
}

// writePod writes the files of a pod that the pages mention: a certificate that is its own
// authority, its key, and credentials for NATS.
func writePod(t *testing.T, home string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"pod-1.internal"},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, text := range map[string][]byte{
		"certs/pod.pem":     authority,
		"certs/ca.pem":      authority,
		"certs/pod-key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"rollcall.creds":    []byte("-----BEGIN NATS USER JWT-----\n"),
	} {
		if err := os.WriteFile(filepath.Join(home, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
