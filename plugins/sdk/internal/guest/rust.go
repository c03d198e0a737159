package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rustDir returns the folder of a Rust that can build for WebAssembly: Debian's, or the first in
// the path.
func rustDir(t testing.TB) string {
	t.Helper()
	for _, dir := range append([]string{"/usr/bin"}, filepath.SplitList(os.Getenv("PATH"))...) {
		rustc := filepath.Join(dir, "rustc")
		args := []string{"--print", "target-libdir", "--target", "wasm32-unknown-unknown"}
		out, err := exec.Command(rustc, args...).Output() //nolint:gosec // a folder of the tester's path
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(out))); err == nil { //nolint:gosec // as rustc says
			return dir
		}
	}
	t.Fatal("no Rust with the target wasm32-unknown-unknown; on Debian: apt-get install rustc cargo lld " +
		"libstd-rust-dev-wasm32 (or, as root, make deps)")
	return ""
}

// TryRust runs a command, such as cargo, in a folder, without network access, and returns its
// output.
func TryRust(t testing.TB, dir, command string, args ...string) (string, error) {
	t.Helper()
	bin := rustDir(t)
	if command == "cargo" {
		command = filepath.Join(bin, command)
	}
	cmd := exec.Command(command, args...)
	cmd.Dir = dir
	cmd.Env = Without([]string{"RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "MAKEFLAGS", "MAKELEVEL"},
		"CARGO_NET_OFFLINE=true", "RUSTC="+filepath.Join(bin, "rustc"), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Rust is TryRust for a command that must succeed.
func Rust(t testing.TB, dir, command string, args ...string) {
	t.Helper()
	if out, err := TryRust(t, dir, command, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
}

// RustHost returns the name of this system, such as x86_64-unknown-linux-gnu.
func RustHost(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(rustDir(t), "rustc"), "-vV").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(out), "host: ")
	host, _, _ := strings.Cut(after, "\n")
	return host
}

// RustVersion returns the version of Rust, such as "rustc 1.63.0".
func RustVersion(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(rustDir(t), "rustc"), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
