package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// demo is a Caddy that serves the demo of the repository's Caddyfile on its own ports.
type demo struct {
	url    string
	admin  string
	config string
}

// root is the repository, relative to this folder.
const root = "../.."

// startDemo runs the binary in ROLLCALL_CADDY. If tls is set, the site is https, with a certificate
// of Caddy's own CA.
func startDemo(t *testing.T, tls bool) demo {
	t.Helper()
	binary := os.Getenv("ROLLCALL_CADDY")
	if binary == "" {
		t.Fatal("ROLLCALL_CADDY is not set: run make browser")
	}
	caddyfile, err := os.ReadFile(filepath.Join(root, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	d := demo{admin: loopback.AddressFor(t)}
	_, port, _ := net.SplitHostPort(loopback.AddressFor(t))
	d.url = "http://localhost:" + port
	global := "{\n\tadmin " + d.admin + "\n\tpersist_config off\n"
	if tls {
		d.url = "https://localhost:" + port
		global += "\thttp_port 0\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n"
	}
	text := strings.Replace(string(caddyfile), "{\n", global, 1)
	d.config = strings.Replace(text, "http://localhost:8080", d.url, 2)
	if !strings.Contains(d.config, "\n"+d.url+" {") {
		t.Fatal("the Caddyfile has another address than http://localhost:8080")
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(d.config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), process.Home(dir)...)
	process.Start(t, cmd, func() error {
		resp, err := http.Get("http://" + d.admin + "/rollcall/health")
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	})
	return d
}

// reload loads the configuration into Caddy again, with one replacement.
func (d demo) reload(t *testing.T, old, replacement string) {
	t.Helper()
	config := strings.Replace(d.config, old, replacement, 1)
	if old != "" && config == d.config {
		t.Fatalf("the configuration has no %q", old)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.admin+"/load", strings.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("reloading: %s: %s", resp.Status, body)
	}
}
