package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/xcaddy"
)

// TestReplacementsDoNotDependOnTheirFolder: the same sources in two folders are built from the same
// paths, which lead to them from the folder of the build.
func TestReplacementsDoNotDependOnTheirFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var paths []string
	for _, text := range []string{"a", "b"} {
		folder := t.TempDir()
		writeFile(t, filepath.Join(folder, "go.mod"), text)
		config := writeFile(t, filepath.Join(folder, "build.json"), `{
			"caddy_version": "v2.11.9",
			"plugins": [{"module_path": "example.com/p"}],
			"replacements": [{"old": "example.com/p@v0.0.0", "new": "."}]
		}`)
		var stderr bytes.Buffer
		code := run(t.Context(), []string{"-config", config, "-output", filepath.Join(folder, "caddy")}, &stderr,
			func(b xcaddy.Builder, ctx context.Context, output string) error {
				module, err := os.MkdirTemp("", "buildenv") // as xcaddy does
				if err != nil {
					return err
				}
				name := b.Replacements[0].New.String()
				paths = append(paths, name)
				if got, err := os.ReadFile(filepath.Join(module, name, "go.mod")); err != nil || string(got) != text {
					t.Errorf("%s leads to %q, %v", name, got, err)
				}
				return succeed(b, ctx, output)
			})
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, &stderr)
		}
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
			t.Error("the sources are gone")
		}
	}
	if paths[0] != paths[1] {
		t.Errorf("the paths are %q", paths)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
