package docs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

// TestCaddyfiles adapts and validates every Caddyfile on the pages, and checks its formatting.
func TestCaddyfiles(t *testing.T) {
	home := t.TempDir()
	writePublicKey(t, filepath.Join(home, "issuer.pem"))
	writePlugin(t, filepath.Join(home, "plugins", "my-rules.wasm"))
	for _, name := range []string{"my-rules", "lobby", "staff", "teams", "limit", "words", "masks", "wrap", "numbers"} {
		writePlugin(t, filepath.Join(home, name, "plugin.wasm"))
	}
	writePod(t, home)
	count := 0
	for _, p := range checked(t) {
		for i, b := range p.blocks {
			if b.lang != "caddyfile" {
				continue
			}
			count++
			file := filepath.Join(home, "Caddyfile")
			if err := os.WriteFile(file, []byte(b.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := command(home, "adapt", "--config", file, "--adapter", "caddyfile", "--validate")
			out = strings.ReplaceAll(out, `\"`, `"`) // it is a line of JSON
			refused := p.refusal(i)
			switch {
			case refused != "" && (err == nil || !strings.Contains(out, refused)):
				t.Errorf("%s:%d: want the error %q, got %v\n%s", p.name, b.line, refused, err, out)
			case refused == "" && err != nil:
				t.Errorf("%s:%d: %v\n%s", p.name, b.line, err, out)
			}
			formatted, err := exec.Command(caddy, "fmt", file).Output()
			if err != nil && len(formatted) == 0 {
				t.Errorf("%s:%d: %v", p.name, b.line, err)
			}
			if !bytes.Equal(formatted, []byte(b.text+"\n")) {
				t.Errorf("%s:%d: not formatted, want\n%s", p.name, b.line, formatted)
			}
		}
	}
	if count < 28 {
		t.Errorf("only %d Caddyfiles found", count)
	}
}

// TestOrdinaryCaddyfilesAreGolden checks that docs/caddyfiles.md and the golden files of ordinary
// Caddyfiles are the same. test/integration serves these files and tests the endpoints and the
// page.
func TestOrdinaryCaddyfilesAreGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "caddymodule/testdata/adapt/ordinary_*.caddyfiletest"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden files, error %v", len(files), err)
	}
	golden := make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		caddyfile, _, _ := strings.Cut(string(text), "\n----------\n")
		golden[caddyfile] = file
	}
	p := readPage(t, "docs/caddyfiles.md")
	for _, b := range p.blocks {
		switch _, found := golden[b.text]; {
		case b.lang == "json": // test/integration reads it from the page
		case b.lang != "caddyfile" || !found:
			t.Errorf("%s:%d: no golden file ordinary_* has this block", p.name, b.line)
		}
		delete(golden, b.text)
	}
	for _, file := range golden {
		t.Errorf("%s has no block of %s", file, p.name)
	}
}

// refusal returns the error that the page announces for a block; "" if none.
func (p page) refusal(index int) string {
	for _, o := range p.orders {
		if o.verb == "error" && o.next == index {
			return o.args
		}
	}
	return ""
}

func command(home string, args ...string) (string, error) {
	cmd := exec.Command(caddy, args...)
	cmd.Dir, cmd.Env = home, environment(home, "localhost:0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// writePublicKey writes the key file that the pages mention.
func writePublicKey(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePlugin writes a plugin like the one that the pages mention.
func writePlugin(t *testing.T, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	wat.Compile(t, file, wat.Edited(t, "testdata/plugin.wat"))
}
