package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name, input, want string
	}{
		{"an unknown key", `{"caddy_version":"v2.11.9","plugin":[]}`, `unknown field "plugin"`},
		{"an unknown key of a plugin", `{"plugins":[{"path":"example.com/p"}]}`, `unknown field "path"`},
		{"bad JSON", `{"caddy_version":`, "decoding JSON at byte"},
		{"an empty file", ``, "decoding JSON at byte 0"},
		{"a value of the wrong type", `{"caddy_version":2}`, "caddy_version"},
		{"a second object", `{"caddy_version":"v2.11.9","plugins":[{"module_path":"p"}]}{}`, "unexpected data after"},
		{"trailing text", `{"caddy_version":"v2.11.9","plugins":[{"module_path":"p"}]} x`, "unexpected data after"},
		{"no version of Caddy", `{"plugins":[{"module_path":"p"}]}`, "caddy_version is missing"},
		{"no plugin", `{"caddy_version":"v2.11.9"}`, "plugins is missing"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := decode([]byte(tc.input))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("decode(%s) = %v, want an error with %q", tc.input, err, tc.want)
			}
		})
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "absent.json")
	_, err := load(name)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
		t.Errorf("load = %v, want fs.ErrNotExist naming %s", err, name)
	}
}

func TestLoadMakesPathsAbsoluteToTheFile(t *testing.T) {
	folder := t.TempDir()
	name := writeFile(t, filepath.Join(folder, "build.json"), `{
		"caddy_version": "v2.11.9",
		"plugins": [{"module_path": "example.com/a/plugin"}],
		"replacements": [
			{"old": "example.com/a", "new": "."},
			{"old": "example.com/b", "new": "../b"},
			{"old": "example.com/c", "new": "/srv/c"},
			{"old": "example.com/d", "new": "example.com/fork/d@v1.2.3"}
		],
		"embed_dir": [{"dir": "public", "name": "site"}],
		"pgo_profile": "default.pgo"
	}`)
	t.Chdir(t.TempDir()) // the working directory must not matter

	b, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{folder, filepath.Join(filepath.Dir(folder), "b"), "/srv/c", "example.com/fork/d@v1.2.3"}
	for i, w := range want {
		if got := b.Replacements[i].New.String(); got != w {
			t.Errorf("replacement of %s = %s, want %s", b.Replacements[i].Old, got, w)
		}
	}
	if got, want := b.EmbedDirs[0].Dir, filepath.Join(folder, "public"); got != want {
		t.Errorf("embedded folder = %s, want %s", got, want)
	}
	if got, want := b.PgoProfile, filepath.Join(folder, "default.pgo"); got != want {
		t.Errorf("profile = %s, want %s", got, want)
	}
}

func TestLoadResolvesARelativeFileName(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "build.json"), `{
		"caddy_version": "v2.11.9",
		"plugins": [{"module_path": "example.com/a/plugin"}],
		"replacements": [{"old": "example.com/a", "new": "."}]
	}`)
	t.Chdir(folder)

	b, err := load("build.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Replacements[0].New.String(); !filepath.IsAbs(got) {
		t.Errorf("replacement = %s, want an absolute path", got)
	}
}

// TestBuildFileAgreesWithGoMod compares xcaddy.json with the repository's go.mod: the tests must
// run against the modules of the build.
func TestBuildFileAgreesWithGoMod(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b, err := load(filepath.Join(root, "xcaddy.json"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Module  struct{ Path string }
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}

	const caddy = "github.com/caddyserver/caddy/v2"
	required := ""
	for _, r := range mod.Require {
		if r.Path == caddy {
			required = r.Version
		}
	}
	if b.CaddyVersion != required {
		t.Errorf("xcaddy.json builds Caddy %s, go.mod requires %s %s", b.CaddyVersion, caddy, required)
	}
	if got, want := b.Plugins[0].PackagePath, mod.Module.Path+"/caddymodule"; got != want {
		t.Errorf("the plugin is %s, want %s", got, want)
	}
	got := make(map[string]string)
	for _, r := range b.Replacements {
		got[r.Old.String()] = r.New.String()
	}
	want := map[string]string{
		// The plugin needs a version, because otherwise xcaddy asks the module proxy for the
		// versions of the module.
		mod.Module.Path + "@" + b.Plugins[0].Version: root,
		// See the go.mod in that folder.
		b.Plugins[0].String(): filepath.Join(root, "tools", "xcaddy", "none"),
	}
	if !maps.Equal(got, want) {
		t.Errorf("replacements = %v, want %v", got, want)
	}
}
