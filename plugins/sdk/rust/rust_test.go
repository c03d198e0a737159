// Package rust_test builds and runs plugins that use the Rust SDK.
package rust_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

func TestCrateUnitTests(t *testing.T) {
	guest.Rust(t, ".", "cargo", "test", "--locked", "--target-dir", t.TempDir())
}

func TestTemplateUnitTests(t *testing.T) {
	dir := project(t)
	guest.Rust(t, dir, "make", "test")
}

func TestTemplateBuildsWithOneCommand(t *testing.T) {
	dir := project(t)
	guest.Rust(t, dir, "make")
	guest.Template(t, filepath.Join(dir, "plugin.wasm"))
}

func TestPlugins(t *testing.T) {
	file := probe(t)
	t.Run("keep to the contract", func(t *testing.T) { guest.Conformance(t, file) })
	t.Run("run in the host", func(t *testing.T) { guest.InHost(t, file) })
	t.Run("take no more memory after a million calls", func(t *testing.T) { guest.Soak(t, file) })
}

func TestOnlyHooksThatAreThereAreExported(t *testing.T) {
	file := build(t, `rollcall::plugin! { shape: |_| None }`)
	const want = "_initialize rollcall_abi_v1 rollcall_buffer rollcall_shape"
	if got := strings.Join(guest.Exports(t, file), " "); got != want {
		t.Errorf("exports %s", got)
	}
	if got := strings.Join(guest.Imports(t, file), " "); got != "rollcall.log" {
		t.Errorf("imports %s", got)
	}
}

func TestAnUnknownHookIsACompileError(t *testing.T) {
	dir := project(t)
	write(t, dir, `rollcall::plugin! { clasify: |_| rollcall::Decision::DENIED }`)
	out, err := guest.TryRust(t, dir, "cargo", "build", "--release")
	const want = "there is no hook clasify: the hooks are connect, classify, authorize, message, members and shape"
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("got %v\n%s", err, out)
	}
}

// The files of the examples are reproducible with one version of Rust only, that of Debian 12. With
// another, their unit tests and the tests of the examples show that the sources work.
func TestExamplesAreBuiltFromTheirSources(t *testing.T) {
	const pinned = "rustc 1.63.0"
	for _, name := range []string{"naming-rules", "word-filter"} {
		t.Run(name, func(t *testing.T) {
			dir, target := "../../../examples/"+name, t.TempDir()
			guest.Rust(t, dir, "cargo", "test", "--locked", "--target", guest.RustHost(t), "--target-dir", target)
			guest.Rust(t, dir, "cargo", "build", "--release", "--locked", "--target-dir", target)
			built := guest.Read(t, target, "wasm32-unknown-unknown/release", strings.ReplaceAll(name, "-", "_")+".wasm")
			version := guest.RustVersion(t)
			if version == pinned && !bytes.Equal(built, guest.Read(t, dir, name+".wasm")) {
				t.Errorf("%s.wasm is not what its source makes; build it as %s/README.md says", name, dir)
			}
			t.Logf("built with %s; compared with %s", version, pinned)
		})
	}
}

func TestREADMEShowsPluginsThatWork(t *testing.T) { guest.README(t, "rust", build) }

func BenchmarkTemplate(b *testing.B) {
	dir := project(b)
	guest.Rust(b, dir, "make")
	guest.Benchmark(b, filepath.Join(dir, "plugin.wasm"))
}

// probe builds the plugin of the conformance tests.
func probe(t *testing.T) []byte {
	return build(t, string(guest.Read(t, "testdata/probe.rs")))
}

// build builds a plugin from the content of lib.rs.
func build(t *testing.T, source string) []byte {
	t.Helper()
	dir := project(t)
	write(t, dir, source)
	guest.Rust(t, dir, "cargo", "build", "--release", "--locked")
	return guest.Read(t, dir, "target/wasm32-unknown-unknown/release/plugin.wasm")
}

func write(t *testing.T, dir, source string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "src/lib.rs"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
}

// project creates a new project, as "caddy rollcall-plugin new" does.
func project(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := sdk.New("rust", dir, "my-plugin"); err != nil {
		t.Fatal(err)
	}
	return dir
}
