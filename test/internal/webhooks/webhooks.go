// Package webhooks lets tests run the receiver of docs/events.md. It verifies each request with the
// npm packages standardwebhooks and svix, and notes the IDs of the events.
package webhooks

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed standardwebhooks.mjs
var standardwebhooks []byte

// Install writes the code of a receiver to receiver.mjs in a folder, with what it imports. The
// process needs the environment of the test.
func Install(t testing.TB, folder string, code []byte) {
	t.Helper()
	if os.Getenv("ROLLCALL_BROWSER_NPM") == "" {
		t.Fatal("ROLLCALL_BROWSER_NPM is not set: run make docs or make e2e")
	}
	module := filepath.Join(folder, "node_modules", "standardwebhooks")
	if err := os.MkdirAll(module, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		filepath.Join(folder, "receiver.mjs"): code,
		filepath.Join(module, "package.json"): []byte(`{"exports": "./index.mjs"}`),
		filepath.Join(module, "index.mjs"):    standardwebhooks,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Seen returns the number of events that the receiver in the folder was sent, and how many of them
// had an ID that was there before.
func Seen(t testing.TB, folder string) (events, again int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, "seen.txt"))
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for id := range strings.FieldsSeq(string(raw)) {
		events++
		if ids[id] {
			again++
		}
		ids[id] = true
	}
	return events, again
}
