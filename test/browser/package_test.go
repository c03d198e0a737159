package browser

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/version"
)

// pack packs rollcall-client from a copy of its sources, because packing writes files beside them.
func pack(t *testing.T) (archive string, files []string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "clients", "js")
	if err := os.CopyFS(copied, os.DirFS(root+"/clients/js")); err != nil {
		t.Fatal(err)
	}
	license, err := os.ReadFile(root + "/LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, "../../LICENSE"), license, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "pack", "--json")
	cmd.Dir, cmd.Env = copied, npmEnv(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var packed []struct {
		Version, Filename string
		Files             []struct{ Path string }
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	if packed[0].Version != version.Rollcall {
		t.Errorf("clients/js/package.json has version %s, want %s", packed[0].Version, version.Rollcall)
	}
	for _, f := range packed[0].Files {
		files = append(files, f.Path)
	}
	return filepath.Join(copied, packed[0].Filename), files
}

// npmEnv keeps npm from the network and from the caches of the user.
func npmEnv(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "npm_config_offline=true", "npm_config_audit=false", "npm_config_fund=false",
		"npm_config_update_notifier=false", "npm_config_cache="+t.TempDir())
}

// install installs packed packages into a new folder.
func install(t *testing.T, archive string) string {
	t.Helper()
	project := t.TempDir()
	if err := os.WriteFile(filepath.Join(project, "package.json"), []byte(`{"private": true, "type": "module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "install", archive)
	cmd.Dir, cmd.Env = project, npmEnv(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	return project
}

// newProject copies an installed project, with a folder of files, and links packages of the tests
// into it: name, or name=folder if the package is in a folder of its own.
func newProject(t *testing.T, installed, files string, names ...string) string {
	t.Helper()
	project := t.TempDir()
	for _, from := range []string{installed, files} {
		if err := os.CopyFS(project, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		name, folder, _ := strings.Cut(name, "=")
		link := filepath.Join(project, "node_modules", name)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(packages(t), "..", folder, "node_modules", name), link); err != nil {
			t.Fatal(err)
		}
	}
	return project
}

// TestPackage packs rollcall-client, and uses it as applications do.
func TestPackage(t *testing.T) { //nolint:tparallel // the parts share a server and a browser
	t.Parallel()
	archive, files := pack(t)
	want := []string{"LICENSE", "README.md", "package.json"}
	for _, module := range []string{"react", "rollcall"} {
		want = append(want, module+".cjs", module+".d.cts", module+".d.ts", module+".js")
	}
	slices.Sort(want)
	slices.Sort(files)
	if !slices.Equal(files, want) {
		t.Errorf("the package has the files %q, want %q", files, want)
	}
	first, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := pack(t)
	second, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first, second) {
		t.Error("the package differs when it is packed again")
	}

	installed := install(t, archive)
	t.Run("types", func(t *testing.T) { checkPackageTypes(t, installed) })
	d := startDemo(t, false)
	t.Run("Node.js", func(t *testing.T) { checkNode(t, d, installed) })
	browser := newBrowser(t)
	t.Run("Vite", func(t *testing.T) { checkGuide(t, d, browser, installed) })
	t.Run("React 18", func(t *testing.T) { checkHooks(t, d, browser, installed, "18", "react-18") })
	t.Run("React 19", func(t *testing.T) { checkHooks(t, d, browser, installed, "19", "") })
}
