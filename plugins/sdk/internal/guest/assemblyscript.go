package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NodeModules returns the folder node_modules with the AssemblyScript compiler. "make deps"
// installs it once for all tests.
func NodeModules(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ROLLCALL_ASSEMBLYSCRIPT")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(cache, "rollcall", "assemblyscript")
	}
	dir = filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(dir, ".bin", "asc")); err != nil { //nolint:gosec // the tester names the folder
		t.Fatalf("no AssemblyScript compiler: %v; run make deps", err)
	}
	return dir
}

// Node runs a command, such as npm, in the folder of a project, with the dependencies of
// NodeModules.
func Node(t testing.TB, dir, command string, args ...string) {
	t.Helper()
	if err := os.Symlink(NodeModules(t), filepath.Join(dir, "node_modules")); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	cmd := exec.Command(command, args...)
	cmd.Dir = dir
	cmd.Env = Without([]string{"MAKEFLAGS", "MAKELEVEL"}, "npm_config_offline=true", "npm_config_update_notifier=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", command, args, err, out)
	}
}

// ASC runs the AssemblyScript compiler in a folder. Paths of output files should be absolute.
func ASC(t testing.TB, dir string, args ...string) {
	t.Helper()
	compiler := filepath.Join(NodeModules(t), "assemblyscript", "bin", "asc.js")
	cmd := exec.Command("node", append([]string{compiler}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("asc %v: %v\n%s", args, err, out)
	}
}
