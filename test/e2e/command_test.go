package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestListModules(t *testing.T) {
	t.Parallel()
	out, err := caddy(t, "list-modules")
	if err != nil {
		t.Fatal(err, out)
	}
	lines := strings.Fields(out)
	for _, module := range []string{"rollcall", "http.handlers.rollcall", "admin.api.rollcall"} {
		if !slices.Contains(lines, module) {
			t.Errorf("%s is not among the modules", module)
		}
	}
}

// caddyfiles returns every Caddyfile of the repository that is meant for users.
func caddyfiles(t *testing.T) []string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(root, "Caddyfile")}
	err = filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "Caddyfile" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCaddyfilesAreValidAndFormatted(t *testing.T) {
	t.Parallel()
	for _, file := range caddyfiles(t) {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		// Paths in a Caddyfile are relative to where Caddy is started.
		for _, args := range [][]string{
			{"adapt", "--validate", "--config", file},
			{"validate", "--config", file},
			{"fmt", "--diff", file},
		} {
			out, err := caddyIn(t, filepath.Dir(file), args...)
			if err != nil {
				t.Errorf("caddy %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			if strings.Contains(out, "not formatted") {
				t.Errorf("%s: %s", file, out)
			}
		}
	}
}

func TestCaddyfileWithAnUnknownOption(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(":0 {\n\trollcall {\n\t\tcolour red\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := caddy(t, "adapt", "--config", file)
	if err == nil || !strings.Contains(out, "colour") || !strings.Contains(out, "api_key") {
		t.Errorf("adapt: %v, want an error that names the option and those allowed: %s", err, out)
	}
}
