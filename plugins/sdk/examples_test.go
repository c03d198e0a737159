//go:build !race

package sdk

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

// clangVersion is the version of clang that built the committed file in C: that of Debian 12.
const clangVersion = "14.0.6"

// rebuild builds an example in a copy of its folder and of its SDK.
func rebuild(t *testing.T, name, lang string, targets ...string) []byte {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "examples", name)
	for from, to := range map[string]string{
		filepath.Join("..", "..", "examples", name): dir,
		lang: filepath.Join(top, "plugins", "sdk", lang),
	} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range targets {
		run(t, dir, "make", "-B", target)
	}
	return guest.Read(t, dir, name+".wasm")
}

func committed(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join("..", "..", "examples", name, name+".wasm")
}

func TestExamplesInGoAreBuiltFromTheirSources(t *testing.T) {
	for _, name := range []string{"mask-email", "roles"} {
		t.Run(name, func(t *testing.T) {
			built := rebuild(t, name, "go", name+".wasm", "test")
			want := guest.Read(t, committed(t, name))
			same := bytes.Contains(want, []byte(runtime.Version()))
			if same && !bytes.Equal(built, want) {
				t.Errorf("%s.wasm differs from a build of its source: make -C examples/%[1]s", name)
			}
			t.Logf("compared: %t (%s)", same, runtime.Version())
		})
	}
}

func TestExamplesInCAreBuiltFromTheirSource(t *testing.T) {
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Fatalf("clang: %v; on Debian: apt-get install clang lld (or, as root, make deps)", err)
	}
	same := bytes.Contains(version, []byte(clangVersion))
	for _, name := range []string{"hidden-staff", "quiet-room"} {
		built := rebuild(t, name, "c", name+".wasm")
		if same && !bytes.Equal(built, guest.Read(t, committed(t, name))) {
			t.Errorf("%s.wasm differs from a build of its source: make -C examples/%s", name, name)
		}
	}
	t.Logf("compared: %t", same)
}

func TestExamplesInTheHost(t *testing.T) {
	users := []plugins.User{
		{ID: "ada", Email: "ada@example.com"},
		{ID: "sam", Email: "sam@Staff.example"},
		{ID: "admin"},
		{ID: "eve", Email: "eve@staff.example.com"},
	}
	tests := map[string]struct {
		name, config string
		want         []string
	}{
		"masked": {"mask-email", `{"except":"staff.example"}`, []string{
			`{"id":"ada","email":"a***@example.com"}`, `{"id":"sam","email":"sam@Staff.example"}`,
			`{"id":"admin","email":""}`, `{"id":"eve","email":"e***@staff.example.com"}`,
		}},
		"removed": {"mask-email", `{"remove":true}`, []string{
			`{"id":"ada"}`, `{"id":"sam"}`, `{"id":"admin"}`, `{"id":"eve"}`,
		}},
		"hidden": {"hidden-staff", `{"domains":["other.example","staff.example"],"ids":"admin"}`, []string{
			`{"id":"ada","email":"ada@example.com"}`, `{"id":"eve","email":"eve@staff.example.com"}`,
		}},
		"marked": {"hidden-staff", `{"domains":"staff.example","mark":true}`, []string{
			`{"id":"ada","email":"ada@example.com"}`, `{"id":"sam","email":"sam@Staff.example","staff":true}`,
			`{"id":"admin","email":""}`, `{"id":"eve","email":"eve@staff.example.com"}`,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chain, _ := guest.Load(t, plugins.Spec{Path: committed(t, tt.name), Config: json.RawMessage(tt.config)})
			got, err := guest.List(t, chain, users...)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// What a plugin adds or leaves reaches browsers only if the site shows the key.
func TestExamplesForBrowsers(t *testing.T) {
	users := []plugins.User{
		{ID: "ada", Email: "ada@example.com", Info: `{"name":"Ada"}`},
		{ID: "sam", Email: "sam@staff.example", Status: `{"away":true}`},
	}
	info := []string{"info", "status"}
	tests := map[string]struct {
		name, config string
		show, want   []string
	}{
		"masked": {"mask-email", `{}`, []string{"email", "info"}, []string{
			`{"id":"ada","email":"a***@example.com","info":{"name":"Ada"}}`, `{"id":"sam","email":"s***@staff.example"}`,
		}},
		"no address":      {"mask-email", `{}`, info, []string{`{"id":"ada","info":{"name":"Ada"}}`, `{"id":"sam","status":{"away":true}}`}},
		"hidden":          {"hidden-staff", `{"domains":"staff.example"}`, info, []string{`{"id":"ada","info":{"name":"Ada"}}`, ""}},
		"marked":          {"hidden-staff", `{"ids":"sam","mark":true}`, []string{"staff"}, []string{`{"id":"ada"}`, `{"id":"sam","staff":true}`}},
		"mark, not shown": {"hidden-staff", `{"ids":"sam","mark":true}`, info, []string{`{"id":"ada","info":{"name":"Ada"}}`, `{"id":"sam","status":{"away":true}}`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chain, _ := guest.Load(t, plugins.Spec{Path: committed(t, tt.name), Config: json.RawMessage(tt.config)})
			shown, err := chain.Show(plugins.EndpointLive, "portal.example.com", tt.show, users)
			if err != nil || len(shown) != 2 || shown[0].Record != tt.want[0] || shown[1].Record != tt.want[1] {
				t.Errorf("got %+v, %v, want %q", shown, err, tt.want)
			}
		})
	}
}

func TestExamplesRefuseMistakes(t *testing.T) {
	tests := map[string]struct{ name, options, want string }{
		"mask-email, unknown option":   {"mask-email", `{"kep":"1"}`, `unknown option "kep"; known are "keep", "except", "remove"`},
		"mask-email, negative":         {"mask-email", `{"keep":"-1"}`, "0 or more"},
		"hidden-staff, unknown option": {"hidden-staff", `{"id":"x"}`, `unknown option "id"; known are: domains ids mark`},
		"hidden-staff, nobody":         {"hidden-staff", `{}`, "want domains or ids"},
		"hidden-staff, no value":       {"hidden-staff", `{"ids":true}`, "need a value"},
		"hidden-staff, mark":           {"hidden-staff", `{"ids":"x","mark":"off"}`, "mark: want no value"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			configure(t, guest.New(t, guest.Read(t, committed(t, tt.name))), tt.options, tt.want)
		})
	}
}

// BenchmarkMaskEmail measures the hook members with a Go plugin, in the host, metered, including
// the JSON of each user.
func BenchmarkMaskEmail(b *testing.B) {
	benchmarkMembers(b, "mask-email", `{}`)
}

// BenchmarkHiddenStaff does the same with a plugin in C.
func BenchmarkHiddenStaff(b *testing.B) {
	benchmarkMembers(b, "hidden-staff", `{"domains":"staff.example"}`)
}

func benchmarkMembers(b *testing.B, name, config string) {
	chain, _ := guest.Load(b, plugins.Spec{Path: committed(b, name), Config: json.RawMessage(config)})
	const size = 10_000
	user := plugins.User{ID: "0123456789", Email: "ada.lovelace@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		members := chain.Members(b.Context(), plugins.EndpointUsers, "portal.example.com", nil, func() (plugins.User, bool) {
			count++
			return user, count <= size
		})
		for range size {
			if _, err := members.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/user")
}

// The plugin of the demo has no SDK.
func TestTroubleIsBuiltFromItsSource(t *testing.T) {
	from, dir := filepath.Join("..", "..", "examples", "demo"), filepath.Join(t.TempDir(), "demo")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "make", "-B", "trouble.wasm")
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Fatalf("clang: %v; on Debian: apt-get install clang lld (or, as root, make deps)", err)
	}
	same := bytes.Contains(version, []byte(clangVersion))
	if same && !bytes.Equal(guest.Read(t, dir, "trouble.wasm"), guest.Read(t, from, "trouble.wasm")) {
		t.Error("trouble.wasm differs from a build of its source: make -C examples/demo")
	}
	t.Logf("compared: %t", same)
}
