package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk"
)

// TestNewWritesTheHooksThatAreAskedFor builds projects with all hooks, and in C with each hook
// alone. The cases that come with a project must pass as they are.
func TestNewWritesTheHooksThatAreAskedFor(t *testing.T) { //nolint:tparallel // its compilers would slow tests that watch the time
	type project struct{ lang, hooks string }
	projects := []project{
		{"c", strings.Join(sdk.Hooks, ",")},
		{"go", strings.Join(sdk.Hooks, ",")},
		{"go", "message"},
		{"rust", strings.Join(sdk.Hooks, ",")},
		{"rust", "message"},
		{"assemblyscript", strings.Join(sdk.Hooks, ",")},
		{"assemblyscript", "message"},
	}
	for _, hook := range sdk.Hooks {
		projects = append(projects, project{"c", hook})
	}
	for _, p := range projects {
		t.Run(p.lang+" "+p.hooks, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t, p.lang)
			a.run(t, "caddy rollcall-plugin new --lang "+p.lang+" --hooks "+p.hooks+" my-plugin")
			a.dir = filepath.Join(a.dir, "my-plugin")
			a.prepare(t, p.lang)
			for _, command := range readReadme(t, a.dir).commands {
				a.run(t, command)
			}
			described := a.run(t, "caddy rollcall-plugin check plugin.wasm")
			want := strings.Split(p.hooks, ",")
			if slices.Contains(want, "members") {
				want = append(want, "members_live")
			}
			_, after, _ := strings.Cut(described, "\nhooks ")
			line, _, _ := strings.Cut(after, "\n")
			got := strings.Split(strings.TrimSpace(line), ", ")
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got the hooks %q, want %q", got, want)
			}
			for _, hook := range sdk.Hooks {
				text, err := os.ReadFile(filepath.Join(a.dir, "cases.json"))
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Contains(string(text), `"hook": "`+hook+`"`); got != strings.Contains(p.hooks, hook) {
					t.Errorf("a case for %s: %t", hook, got)
				}
			}
		})
	}
}
