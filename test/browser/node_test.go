package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// snippets returns the blocks of code of a page in one language, without the fences.
func snippets(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			found = append(found, m[2])
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return found
}

// checkNode runs what the pages show for Node.js, as a user with a token, against the demo.
func checkNode(t *testing.T, d demo, installed string) {
	socket := "ws" + strings.TrimPrefix(d.url, "http") + "/message/socket"
	address := regexp.MustCompile(`wss?://[\w.:]+/message/socket`)
	imported := regexp.MustCompile(`(?m)^import WebSocket .*\n|^ +WebSocket,.*\n|, WebSocket: require\("ws"\)`)
	for _, page := range []string{"clients/js/README.md", "docs/clients.md"} {
		for _, kind := range []struct{ language, want string }{{"mjs", "[ 'ada' ]\n"}, {"cjs", "1\n"}} {
			if page == "docs/clients.md" && kind.language == "cjs" {
				continue
			}
			text := strings.Join(snippets(t, page, kind.language), "\n")
			for _, own := range []struct {
				name  string
				flags []string
			}{{"ws", nil}, {"the WebSocket of Node.js", []string{"--experimental-websocket"}}} { // of 22, without a flag
				t.Run(page+" "+kind.language+" "+own.name, func(t *testing.T) {
					script := address.ReplaceAllString(text, socket)
					names := []string{"ws"}
					if own.flags != nil {
						script, names = imported.ReplaceAllString(script, ""), nil
					}
					project := newProject(t, installed, t.TempDir(), names...)
					file := filepath.Join(project, "main."+kind.language)
					if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					cmd := exec.CommandContext(ctx, "node", slices.Concat([]string{"--no-warnings"}, own.flags, []string{file})...)
					cmd.Env = append(os.Environ(), "ROLLCALL_TOKEN="+sign(t, "ada", time.Hour))
					if out, err := cmd.CombinedOutput(); err != nil || string(out) != kind.want {
						t.Errorf("%v: %q, want %q", err, out, kind.want)
					}
				})
			}
		}
	}
	t.Run("no server", func(t *testing.T) {
		project := newProject(t, installed, "testdata/node", "ws")
		out, err := exec.Command("node", "--no-warnings", filepath.Join(project, "lost.mjs")).CombinedOutput()
		if want := "waiting lost 1006\nconnecting start undefined\nclosed closed 1000\n"; err != nil || string(out) != want {
			t.Errorf("%v: %q, want %q", err, out, want)
		}
	})
}
