package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestPluginAuthorsPath does what the author of a first plugin does: makes a new project, follows
// the commands and lines of its README, and then changes the rules.
func TestPluginAuthorsPath(t *testing.T) { //nolint:tparallel // its compilers would slow tests that watch the time
	for _, lang := range []struct{ name, source string }{
		{"go", "main.go"},
		{"c", "plugin.c"},
		{"rust", "src/lib.rs"},
		{"assemblyscript", "assembly/index.ts"},
	} {
		t.Run(lang.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t, lang.name)
			a.run(t, "caddy rollcall-plugin new --lang "+lang.name+" my-plugin")
			a.dir = filepath.Join(a.dir, "my-plugin")
			a.prepare(t, lang.name)
			readme := readReadme(t, a.dir)
			if len(readme.commands) < 3 || readme.commands[0] != "make" {
				t.Fatalf("the commands of the README are %q, want one that builds and two that try", readme.commands)
			}
			var outputs []string
			for _, command := range readme.commands {
				outputs = append(outputs, a.run(t, command))
			}
			if !strings.Contains(outputs[1], "classify, members") {
				t.Errorf("%s does not name the hooks: %s", readme.commands[1], outputs[1])
			}
			if !strings.Contains(outputs[2], `"opinion":false`) {
				t.Errorf("%s: %s, want no opinion without a configuration", readme.commands[2], outputs[2])
			}
			a.write(t, "config.json", `{"open":"lobby-"}`)
			if got := a.run(t, readme.commands[2]+" --config config.json"); !strings.Contains(got, `"anonymous"`) {
				t.Errorf("with a configuration: %s, want anonymous", got)
			}

			// Compilers can take longer than clients may be silent, so both versions are there
			// before.
			first := a.read(t, "plugin.wasm")
			a.replace(t, lang.source)
			a.run(t, readme.commands[0])
			second := a.read(t, "plugin.wasm")
			a.write(t, "plugin.wasm", first)

			p := start(t, setup{})
			p.site.Shaped = true // later, by the plugin
			user := ws.Dial(t, authorized(t, p.site, "ada"))
			user.Join(t, "room")
			visitor := p.site.Dial(t)
			visitor.Send(t, `{"type":"join","channel":"lobby-1"}`)
			visitor.ExpectError(t, "", "login_required")
			p.site.Expect(t, "users", `{"channel":"room"}`, `{"room":[{"id":"ada","email":"ada@example.com"}]}`)

			file := filepath.Join(a.dir, "plugin.wasm")
			p.write(t, setup{options: strings.Replace(readme.caddyfile, "plugin.wasm", file, 1)})
			if out, err := p.reload(t); err != nil {
				t.Fatalf("caddy reload: %v\n%s", err, out)
			}
			p.site.Expect(t, "users", `{"channel":"room"}`, `{"room":[{"id":"ada","email":"ada@example.com","badge":"guest"}]}`)
			visitor.Join(t, "lobby-1")
			user.ExpectNothing(t)

			a.write(t, "plugin.wasm", second)
			if out, err := p.reload(t); err != nil {
				t.Fatalf("caddy reload: %v\n%s", err, out)
			}
			p.site.Expect(t, "users", `{"channel":"room"}`, `{"room":[{"id":"ada","email":"ada@example.com","label":"guest"}]}`)
			visitor.ExpectNothing(t)
		})
	}
}

// author is a shell.
type author struct {
	dir string // working directory of the shell
	env []string
}

// newAuthor puts the command caddy and the tools of the language into the path.
func newAuthor(t *testing.T, lang string) *author {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(caddyPath, filepath.Join(bin, "caddy")); err != nil {
		t.Fatal(err)
	}
	path := []string{bin}
	if lang == "rust" {
		path = append(path, "/usr/bin") // Debian's compiler can build for WebAssembly; another one earlier in the path often cannot
	}
	path = append(path, os.Getenv("PATH"))
	ours := []string{"PATH", "GOFLAGS", "GOOS", "GOARCH", "GOWORK", "CGO_ENABLED", "MAKEFLAGS", "MAKELEVEL", "RUSTFLAGS", "CARGO_TARGET_DIR"}
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(ours, name)
	})
	return &author{dir: t.TempDir(), env: append(env, "PATH="+strings.Join(path, string(os.PathListSeparator)),
		"GOPROXY=off", "CARGO_NET_OFFLINE=true", "npm_config_offline=true", "npm_config_update_notifier=false")}
}

// prepare puts the compiler that npm would fetch into the project; make deps has fetched it.
func (a *author) prepare(t *testing.T, lang string) {
	t.Helper()
	if lang != "assemblyscript" {
		return
	}
	compiler := os.Getenv("ROLLCALL_ASSEMBLYSCRIPT")
	if compiler == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		compiler = filepath.Join(cache, "rollcall", "assemblyscript")
	}
	modules := filepath.Join(compiler, "node_modules")
	_, err := os.Stat(filepath.Join(modules, ".bin", "asc"))
	if err := errors.Join(err, os.Symlink(modules, filepath.Join(a.dir, "node_modules"))); err != nil {
		t.Fatalf("no AssemblyScript compiler, make deps installs it: %v", err)
	}
}

// run runs a command line and returns its output.
func (a *author) run(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = a.dir, a.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func (a *author) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *author) read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// setBadge is the code of a new plugin that gives users a badge.
var setBadge = regexp.MustCompile(`(?i)(set\((?:member, )?)"badge"`)

// replace changes the rules: users get a label instead of a badge.
func (a *author) replace(t *testing.T, source string) {
	t.Helper()
	text := a.read(t, source)
	if n := len(setBadge.FindAllString(text, -1)); n != 1 {
		t.Fatalf("%s sets the badge in %d places, want 1", source, n)
	}
	a.write(t, source, setBadge.ReplaceAllString(text, `${1}"label"`))
}

// readme has the instructions in the README of a project.
type readme struct {
	commands  []string // from all shell blocks, without comments
	caddyfile string   // the block without a language
}

var codeBlock = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

func readReadme(t *testing.T, dir string) readme {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var r readme
	for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		switch block[1] {
		case "sh":
			for line := range strings.Lines(block[2]) {
				command, _, _ := strings.Cut(line, " #")
				if command = strings.TrimSpace(command); command != "" {
					r.commands = append(r.commands, command)
				}
			}
		case "":
			r.caddyfile = block[2]
		}
	}
	if !strings.Contains(r.caddyfile, "plugin plugin.wasm {") {
		t.Fatalf("the README shows no lines for the Caddyfile: %q", r.caddyfile)
	}
	return r
}
