package guest

import (
	"bytes"
	"strings"
	"testing"
)

// README builds the plugins that an SDK's README shows, and checks that those with the hook members
// rename or remove what the README says.
func README(t *testing.T, lang string, build func(t *testing.T, source string) []byte) {
	t.Helper()
	user := Batch(User("ann", "ann@example.com"))
	want := [][]Field{
		{{Key: "id", Type: 1, Value: "ann"}, {Key: "name", Type: 1, Value: "ANN"}},
		{{Key: "id", Type: 1, Value: "ann"}},
	}
	var blocks []string
	for _, source := range Blocks(t, "README.md", lang) {
		if strings.Contains(source, "ember") {
			blocks = append(blocks, source)
		} else {
			build(t, source)
		}
	}
	if len(blocks) != len(want) {
		t.Fatalf("%d plugins with members, want %d", len(blocks), len(want))
	}
	for i, source := range blocks {
		g := New(t, build(t, source))
		if strings.Contains(source, "onfigure") {
			config := []byte(`{"host":"h","plugin":"p","config":{"remove":["email","phone"]}}`)
			if refused, err := g.Call("rollcall_configure", config); err != nil || refused != 0 {
				t.Fatalf("configure: %d, %v, log %q", refused, err, g.Logs)
			}
		}
		got, err := g.Slice("rollcall_members", user, 1)
		if err != nil || !bytes.Equal(got, Batch(want[i])) {
			t.Errorf("plugin %d: got %q, %v; want %q", i+1, got, err, Batch(want[i]))
		}
	}
}
