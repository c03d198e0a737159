package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRollcallHasAHandleOfItsOwn checks that in every Caddyfile of the repository and of the pages,
// Rollcall has a handle of its own, apart from the other directives of the site. That form is right
// for any page.
func TestRollcallHasAHandleOfItsOwn(t *testing.T) {
	home := t.TempDir()
	files := map[string]string{}
	for _, pattern := range []string{"Caddyfile", "examples/*/Caddyfile", "docs/*/Caddyfile"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files[file] = string(text)
		}
	}
	if len(files) < 7 {
		t.Errorf("only %d files found", len(files))
	}
	for _, p := range checked(t) {
		for i, b := range p.blocks {
			if b.lang == "caddyfile" && p.refusal(i) == "" {
				files[fmt.Sprintf("%s:%d", p.name, b.line)] = b.text
			}
		}
	}
	for name, text := range files {
		cmd := exec.Command(caddy, "adapt", "--adapter", "caddyfile", "--config", "-")
		cmd.Dir, cmd.Env, cmd.Stdin = home, environment(home, "localhost:0"), strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var config any
		if err := json.Unmarshal(out, &config); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if sharesRoutes(config) {
			t.Errorf("%s: write handle /message/* { rollcall ... } and handle { ... } for the rest", name)
		}
	}
}

// sharesRoutes reports whether a rollcall handler shares a list of routes with other handlers.
func sharesRoutes(config any) bool {
	switch c := config.(type) {
	case []any:
		return slices.ContainsFunc(c, sharesRoutes)
	case map[string]any:
		routes, _ := c["routes"].([]any)
		ours, handlers := 0, 0
		for _, r := range routes {
			route, _ := r.(map[string]any)
			handle, _ := route["handle"].([]any)
			for _, h := range handle {
				h, _ := h.(map[string]any)
				if h["handler"] == "rollcall" {
					ours++
				}
				if _, found := h["strip_path_prefix"]; !found { // it is a part of handle_path
					handlers++
				}
			}
		}
		return ours > 0 && handlers > ours || slices.ContainsFunc(slices.Collect(maps.Values(c)), sharesRoutes)
	}
	return false
}

func TestSharesRoutes(t *testing.T) {
	for text, want := range map[string]bool{
		`{"routes":[{"handle":[{"handler":"rewrite","strip_path_prefix":"/live"},{"handler":"rollcall"}]}]}`:                 false,
		`{"routes":[{"handle":[{"handler":"rollcall"}]}]}`:                                                                   false,
		`{"routes":[{"handle":[{"handler":"rollcall"},{"handler":"file_server"}]}]}`:                                         true,
		`{"routes":[{"handle":[{"handler":"vars"}]},{"handle":[{"handler":"rollcall"}]}]}`:                                   true,
		`{"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rollcall"}]}]}]},{"handle":[{}]}]}`:    false,
		`{"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"rollcall"},{}]}]}]},{"handle":[{}]}]}`: true,
	} {
		var config any
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		if got := sharesRoutes(config); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
}
