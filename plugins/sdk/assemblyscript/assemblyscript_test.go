// Package assemblyscript_test builds and runs plugins that use the AssemblyScript SDK.
package assemblyscript_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

func TestTemplateBuildsWithOneCommand(t *testing.T) {
	dir := project(t)
	guest.Node(t, dir, "make")
	guest.Template(t, filepath.Join(dir, "plugin.wasm"))
}

func TestPlugins(t *testing.T) {
	file := probe(t)
	t.Run("keep to the contract", func(t *testing.T) { guest.Conformance(t, file) })
	t.Run("run in the host", func(t *testing.T) { guest.InHost(t, file) })
	t.Run("take no more memory after a million calls", func(t *testing.T) { guest.Soak(t, file) })
}

func TestOnlyWhatIsUsedIsImportedAndExported(t *testing.T) {
	file := build(t, `
		import { Answer, Json, onShape } from "./rollcall";
		export { rollcall_abi_v1, rollcall_buffer, rollcall_shape } from "./rollcall";
		onShape((answer: Answer): Json | null => null);`)
	const want = "_initialize rollcall_abi_v1 rollcall_buffer rollcall_shape"
	if got := strings.Join(guest.Exports(t, file), " "); got != want {
		t.Errorf("exports %s", got)
	}
	if got := strings.Join(guest.Imports(t, file), " "); got != "env.abort" {
		t.Errorf("imports %s", got)
	}
}

func TestAHookThatIsExportedAndNotRegisteredSaysSo(t *testing.T) {
	g := guest.New(t, build(t, `export { rollcall_abi_v1, rollcall_buffer, rollcall_classify } from "./rollcall";`))
	_, err := g.Call("rollcall_classify", guest.Request{Version: 1, Kind: 1}.Encode())
	const want = "rollcall_classify is exported, but onClassify was not called"
	if err == nil || len(g.Logs) != 1 || !strings.Contains(g.Logs[0], want) {
		t.Errorf("got %v, logged %q; want %q", err, g.Logs, want)
	}
}

func TestExampleIsBuiltFromItsSource(t *testing.T) {
	const dir = "../../../examples/team-totals"
	out := filepath.Join(t.TempDir(), "team-totals.wasm")
	guest.ASC(t, dir, "--config", "asconfig.json", "assembly/index.ts", "--outFile", out)
	if !bytes.Equal(guest.Read(t, out), guest.Read(t, dir, "team-totals.wasm")) {
		t.Errorf("team-totals.wasm differs from a build of its source; build it as %s/README.md says", dir)
	}
}

// Projects install the compiler that the tests run: that of the template's lock file.
func TestProjectsPinTheSameCompiler(t *testing.T) {
	template := string(guest.Read(t, "template/package-lock.json"))
	example := string(guest.Read(t, "../../../examples/team-totals/package-lock.json"))
	if strings.ReplaceAll(example, `"team-totals"`, `"plugin"`) != template {
		t.Error("the locks of the template and of examples/team-totals differ")
	}
}

func TestREADMEShowsPluginsThatWork(t *testing.T) { guest.README(t, "ts", build) }

func BenchmarkTemplate(b *testing.B) {
	dir := project(b)
	guest.Node(b, dir, "make")
	guest.Benchmark(b, filepath.Join(dir, "plugin.wasm"))
}

// probe builds the plugin of the conformance tests.
func probe(t *testing.T) []byte {
	return build(t, string(guest.Read(t, "testdata/probe.ts")))
}

// build builds a plugin from the content of index.ts.
func build(t *testing.T, source string) []byte {
	t.Helper()
	dir := project(t)
	if err := os.WriteFile(filepath.Join(dir, "assembly/index.ts"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	guest.Node(t, dir, "npm", "run", "build")
	return guest.Read(t, dir, "plugin.wasm")
}

// project creates a new project, as "caddy rollcall-plugin new" does.
func project(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := sdk.New("assemblyscript", dir, "my-plugin"); err != nil {
		t.Fatal(err)
	}
	return dir
}
