package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

const goodBuild = `{"caddy_version":"v2.11.9","plugins":[{"module_path":"example.com/p"}]}`

// succeed replaces a build that writes its output.
func succeed(_ xcaddy.Builder, _ context.Context, output string) error {
	return os.WriteFile(output, []byte("new"), 0o700)
}

// breakHalfway replaces a build that fails after it started to write its output.
func breakHalfway(_ xcaddy.Builder, _ context.Context, output string) error {
	return errors.Join(os.WriteFile(output, []byte("half"), 0o700), errors.New("no compiler"))
}

func TestRunPutsTheBinaryInPlace(t *testing.T) {
	folder := t.TempDir()
	config := writeFile(t, filepath.Join(folder, "build.json"), goodBuild)
	output := filepath.Join(folder, "bin", "caddy")

	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"-config", config, "-output", output}, &stderr, succeed); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if got, err := os.ReadFile(output); err != nil || string(got) != "new" {
		t.Errorf("output = %q, %v", got, err)
	}
	assertOnlyEntry(t, filepath.Dir(output), "caddy")
}

func TestRunKeepsTheOldBinaryWhenTheBuildFails(t *testing.T) {
	folder := t.TempDir()
	config := writeFile(t, filepath.Join(folder, "build.json"), goodBuild)
	bin := filepath.Join(folder, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	output := writeFile(t, filepath.Join(bin, "caddy"), "old")

	var stderr bytes.Buffer
	code := run(t.Context(), []string{"-config", config, "-output", output}, &stderr, breakHalfway)
	if code != exitBuildFailed || !strings.Contains(stderr.String(), "no compiler") {
		t.Errorf("exit code %d, stderr %q", code, &stderr)
	}
	if got, err := os.ReadFile(output); err != nil || string(got) != "old" {
		t.Errorf("output = %q, %v", got, err)
	}
	assertOnlyEntry(t, bin, "caddy")
}

func TestRunRefusesBadInput(t *testing.T) {
	folder := t.TempDir()
	unknown := writeFile(t, filepath.Join(folder, "unknown.json"), `{"caddy":"v2.11.9"}`)
	good := writeFile(t, filepath.Join(folder, "good.json"), goodBuild)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"a missing file", []string{"-config", filepath.Join(folder, "absent.json")}, "absent.json"},
		{"an unknown key", []string{"-config", unknown}, `unknown field "caddy"`},
		{"an unknown flag", []string{"-conf", good}, "not defined"},
		{"an argument", []string{"-config", good, "build"}, `unexpected argument "build"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), tc.args, &stderr, func(xcaddy.Builder, context.Context, string) error {
				t.Error("the build was started")
				return nil
			})
			if code != exitBadInput || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("exit code %d, stderr %q, want %d and %q", code, &stderr, exitBadInput, tc.want)
			}
		})
	}
}

func assertOnlyEntry(t *testing.T, folder, want string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != want {
		t.Errorf("%s holds %v, want only %s", folder, entries, want)
	}
}
