//go:build !race

// Nothing here is concurrent, and under the race detector wazero takes ten times as long to compile
// a Go plugin.

package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

// project creates a new project, and replaces the content of file if that is not "".
func project(t *testing.T, lang, file string, content []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my-plugin")
	if err := New(lang, dir, "my-plugin"); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a command in a folder, in an author's plain environment.
func run(t *testing.T, dir string, command ...string) {
	t.Helper()
	if out, err := try(dir, command...); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

func try(dir string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = guest.Without([]string{"GOFLAGS", "GOWORK", "GOOS", "GOARCH", "MAKEFLAGS", "MAKELEVEL"}, "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// probe builds the probe of package guest.
func probe(t *testing.T, lang, file string) []byte {
	t.Helper()
	dir := project(t, lang, file, guest.Read(t, "testdata", "probe-"+lang, file))
	run(t, dir, "make")
	return guest.Read(t, dir, "plugin.wasm")
}

// mainFiles are the files with the rules of the templates.
var mainFiles = map[string]string{"go": "main.go", "c": "plugin.c"}

func TestProjectBuildsWithOneCommand(t *testing.T) {
	for lang := range mainFiles {
		t.Run(lang, func(t *testing.T) {
			dir := project(t, lang, "", nil)
			run(t, dir, "make")
			file := guest.Read(t, dir, "plugin.wasm")
			want := []string{
				"rollcall_abi_v1", "rollcall_buffer", "rollcall_classify", "rollcall_configure", "rollcall_members",
				"rollcall_members_live",
			}
			got := slices.DeleteFunc(guest.Exports(t, file), func(s string) bool { return s == "_initialize" })
			if !slices.Equal(got, want) {
				t.Errorf("exports %q, want %q", got, want)
			}

			g := guest.New(t, file)
			configure(t, g, `{"open":["lobby-","h\u00e9lp"],"badge":"guest"}`, "")
			for channel, want := range map[string]uint64{"lobby-1": 2, "hélpdesk": 2, "sales": 0, "": 0} {
				request := guest.Request{Version: 1, Kind: 1, Host: "h", Channel: channel}
				if got, err := g.Call("rollcall_classify", request.Encode()); err != nil || got != want {
					t.Errorf("classify %q: got %d, %v, want %d", channel, got, err, want)
				}
			}
			shown := guest.Batch(append(guest.User("1", "a@b"), guest.Field{Key: "badge", Type: 1, Value: "guest"}))
			if got, err := g.Slice("rollcall_members", guest.Batch(guest.User("1", "a@b")), 1); err != nil ||
				string(got) != string(shown) {
				t.Errorf("members: got %q, %v, want %q", got, err, shown)
			}

			plain := guest.New(t, file)
			configure(t, plain, `{}`, "")
			if got, err := plain.Slice("rollcall_members", guest.Batch(guest.User("1", "a@b")), 1); err != nil || got != nil {
				t.Errorf("members without a badge: got %q, %v", got, err)
			}
			configure(t, guest.New(t, file), `{"bagde":"x"}`, `unknown option "bagde"; known are`)
			guest.Template(t, filepath.Join(dir, "plugin.wasm"))
		})
	}
}

// configure configures an instance. With refused, the instance must refuse the options with that
// text; otherwise, accept them.
func configure(t *testing.T, g *guest.Guest, options, refused string) {
	t.Helper()
	result, err := g.Call("rollcall_configure", []byte(`{"host":"a.example","plugin":"test","config":`+options+`}`))
	if err != nil || (uint32(result) == 0) != (refused == "") {
		t.Fatalf("configure %s: %d, %v, log %q", options, result, err, g.Logs)
	}
	if refused != "" && (len(g.Logs) != 1 || !strings.Contains(g.Logs[0], refused)) {
		t.Errorf("configure %s: log %q, want %q", options, g.Logs, refused)
	}
}

func TestTemplateUnitTests(t *testing.T) {
	run(t, project(t, "go", "", nil), "make", "test")
}

func TestPluginsKeepToTheContract(t *testing.T) {
	for lang, source := range mainFiles {
		t.Run(lang, func(t *testing.T) {
			file := probe(t, lang, source)
			guest.Common(t, file)
			if lang == "go" { // the probe in C knows no JSON beyond its options
				t.Run("in the host", func(t *testing.T) { guest.InHost(t, file) })
			}
			t.Run("options", func(t *testing.T) { options(t, file) })
			t.Run("failures", func(t *testing.T) { failures(t, file) })
			t.Run("memory stays flat", func(t *testing.T) { flat(t, file) })
		})
	}
}

func options(t *testing.T, file []byte) {
	for options, want := range map[string]string{
		`{"word":"w","words":["a","b"],"flag":true,"number":"42","inner":{"deep":"d"}}`: "1 a.example|test|w|a+b|true|42|d",
		`{}`:            "1 a.example|test|none||false|-1|none",
		`{"words":"a"}`: "1 a.example|test|none|a|false|-1|none",
		` { "word" : "\"\\\/\b\u00e9\ud83c\udf89" } `: "1 a.example|test|\"\\/\bé🎉||false|-1|none",
		`{"words":["x,]}","{y"],"word":"\\"}`:         "1 a.example|test|\\|x,]}+{y|false|-1|none",
	} {
		g := guest.New(t, file)
		configure(t, g, options, "")
		if !slices.Equal(g.Logs, []string{want}) {
			t.Errorf("%s: log %q, want %q", options, g.Logs, want)
		}
	}
	configure(t, guest.New(t, file), `{"wrod":"w"}`, `unknown option "wrod"; known are`)
	g := guest.New(t, file)
	for _, bad := range []string{``, `[]`, `{"config":{}`, `{"config":{"word":"a}`} {
		if result, err := g.Call("rollcall_configure", []byte(bad)); err != nil || uint32(result) == 0 {
			t.Errorf("%s: %d, %v", bad, result, err)
		}
	}
}

const failed = ^uint64(0)

func failures(t *testing.T, file []byte) {
	good := guest.Request{Version: 1, Kind: 1, Host: "h", Channel: "c"}.Encode()
	users := guest.Batch(guest.User("1", "a@b"))
	tests := map[string]struct {
		export string
		input  []byte
		traps  bool
	}{
		"a panic":                {"rollcall_classify", guest.Request{Version: 1, Kind: 1, Channel: "fail"}.Encode(), true},
		"half a header":          {"rollcall_classify", good[:15], false},
		"a cut request":          {"rollcall_authorize", good[:len(good)-1], false},
		"another version":        {"rollcall_classify", append([]byte{2}, good[1:]...), false},
		"a cut batch":            {"rollcall_members", users[:len(users)-1], false},
		"a cut length":           {"rollcall_members", append(slices.Clone(users), 1, 2), false},
		"a cut record":           {"rollcall_members", users[:8], false},
		"an unknown type":        {"rollcall_members", guest.Batch([]guest.Field{{Key: "id", Type: 3}}), false},
		"a key that is too long": {"rollcall_members", guest.Batch(guest.User("long", "")), strings.Contains(t.Name(), "/go/")},
		"an error":               {"rollcall_shape", []byte(`"fail"`), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := guest.Configured(t, file)
			var arguments []uint64
			if tt.export == "rollcall_members" || tt.export == "rollcall_shape" {
				arguments = []uint64{1}
			}
			got, err := g.Call(tt.export, tt.input, arguments...)
			if (err != nil) != tt.traps || !tt.traps && got != failed {
				t.Errorf("got %#x, %v", got, err)
			}
			if !tt.traps && (len(g.Logs) != 1 || g.Logs[0][0] != '3') {
				t.Errorf("log %q, want one error", g.Logs)
			}
		})
	}
}

// flat makes many calls and checks that the memory stops growing and, in Go, that kept texts do not
// change.
func flat(t *testing.T, file []byte) {
	g := guest.Configured(t, file)
	users := guest.Batch(guest.User("mask", "ann@example.com"), guest.User("1", "bob@example.com"), guest.User("add", ""))
	text := []byte(`"` + strings.Repeat(`\u001fü`, 1000) + `"`)
	request := guest.Request{Version: 1, Kind: 1, Host: "portal.example.com"}
	var warm uint32
	for i := range 40_000 {
		request.Channel = "channel-" + strings.Repeat("x", i%40)
		_, err := g.Call("rollcall_classify", request.Encode())
		if err == nil {
			_, err = g.Call("rollcall_members", users, 1)
		}
		if err == nil && i%10 == 0 {
			_, err = g.Call("rollcall_shape", text, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 10_000 {
			warm = g.Memory()
		}
	}
	t.Logf("memory: %d KiB after 10,000 calls, %d KiB after 40,000", warm>>10, g.Memory()>>10)
	if size := g.Memory(); size > warm {
		t.Errorf("the memory grew from %d to %d bytes", warm, size)
	}
	if strings.Contains(t.Name(), "/go/") {
		request.Channel = "kept"
		if got, err := g.Call("rollcall_classify", request.Encode()); err != nil || got != 2 {
			t.Errorf("texts that were kept have changed: %d, %v", got, err)
		}
	}
}

func TestOnlyHooksThatAreThereAreExported(t *testing.T) {
	tests := map[string][]byte{
		"c": []byte("#include \"rollcall.h\"\nRC_AUTHORIZE(request) { return request->user.size ? RC_NO_OBJECTION : RC_REFUSED; }\n"),
		"go": []byte(`package main

import (
	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/authorize"
)

func init() {
	authorize.Handle(func(*rollcall.Request) authorize.Verdict { return authorize.NoObjection })
}

func main() {}
`),
	}
	for lang, source := range tests {
		t.Run(lang, func(t *testing.T) {
			dir := project(t, lang, mainFiles[lang], source)
			run(t, dir, "make")
			file := guest.Read(t, dir, "plugin.wasm")
			for _, name := range guest.Exports(t, file) {
				if slices.Contains([]string{"rollcall_classify", "rollcall_members", "rollcall_shape"}, name) {
					t.Errorf("exports %s", name)
				}
			}
			if got := guest.Imports(t, file); lang == "c" && !slices.Equal(got, []string{"rollcall.log"}) {
				t.Errorf("imports %q", got)
			}
		})
	}
}

// A Go plugin that imports a hook without a handler must fail in that hook rather than answer
// nothing.
func TestHookWithoutHandlerFails(t *testing.T) {
	dir := project(t, "go", "main.go", []byte(`package main

import _ "github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"

func main() {}
`))
	run(t, dir, "make")
	g := guest.New(t, guest.Read(t, dir, "plugin.wasm"))
	got, err := g.Call("rollcall_classify", guest.Request{Version: 1, Kind: 1, Channel: "c"}.Encode())
	if err != nil || got != failed || len(g.Logs) != 1 || !strings.Contains(g.Logs[0], "Handle was not called") {
		t.Errorf("got %#x, %v, log %q", got, err, g.Logs)
	}
}
