package secret

import (
	"os"
	"strings"
	"testing"
)

// A key of openssl rand -hex 32 is looked at no further. Anything else is a path if there is such a file.
func TestHexKeyIsNoPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		name, text string
		path       bool
	}{
		{"key", strings.Repeat("0aF9", 16), false},
		{"longer key", strings.Repeat("0aF9", 32), false},
		{"shorter", strings.Repeat("0aF9", 16)[1:], true},
		{"other characters", strings.Repeat("0aF9", 16) + "g", true},
		{"extension", strings.Repeat("0aF9", 16) + ".pem", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(test.text, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := IsPath(test.text); got != test.path {
				t.Errorf("IsPath: %t", got)
			}
			if is := Public(test.text); is != "" {
				t.Errorf("Public: %s", is)
			}
		})
	}
}
