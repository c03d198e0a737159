package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "write what Caddyfiles are adapted to into the golden files")

// separator is the line of a golden file between the Caddyfile and its result: JSON, or an error.
const separator = "----------\n"

// TestAdapt compares the JSON of Caddyfiles with golden files. Run it with -update to write them
// again.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d golden files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, _ := strings.Cut(string(golden), separator)
			got := adapted(t, caddyfile)
			if *update {
				if err := os.WriteFile(file, []byte(caddyfile+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// adapted returns the indented JSON of a Caddyfile, or the error.
func adapted(t *testing.T, caddyfile string) string {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w) // the golden files are formatted as caddy fmt does it
	}
	var out bytes.Buffer
	if err := json.Indent(&out, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// FuzzCaddyfile checks that no Caddyfile makes the adapter panic, and that its result is JSON.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		golden, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		caddyfile, _, _ := strings.Cut(string(golden), separator)
		_, block, found := strings.Cut(caddyfile, "\n\trollcall ")
		if found {
			f.Add(block[:strings.LastIndexByte(block, '}')])
		}
	}
	f.Add("@matcher {\nping 1s\n}")
	f.Add("/path {\n}")
	f.Add("{\njwt {\nkey {\n")
	f.Add("`")
	f.Fuzz(func(t *testing.T, block string) {
		// Outside of the directive a fuzzer would test Caddy: imported files and other directives.
		if strings.Contains(block, "import") || strings.Contains(block, "<<") {
			return
		}
		for _, caddyfile := range []string{
			"a.example.com {\n\trollcall " + block + "\n}\n",
			"{\n\trollcall " + block + "\n}\n",
		} {
			config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
			if err == nil && !json.Valid(config) {
				t.Errorf("%q was adapted to %q", caddyfile, config)
			}
		}
	})
}
