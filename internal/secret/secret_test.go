package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys in all forms are tested with the options that refuse them, in package caddymodule.
func TestPublic(t *testing.T) {
	for text, want := range map[string]string{
		"https://issuer.example/keys":  "a URL",
		" postgres://db/x":             "a URL",
		"-----BEGIN PUBLIC KEY-----":   "a key as PEM text",
		"ssh-ed25519 AAAA":             "a public key of SSH",
		`{"keys":[]}`:                  "JSON",
		"eyJrZXlzIjpbXX0=":             "JSON in base64",
		"://x":                         "",
		"1a://x":                       "",
		"{not JSON":                    "",
		"correct horse battery staple": "",
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1": "",
	} {
		if got := Public(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), strings.Repeat("a", 64))
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	for _, test := range []struct {
		text     string
		is, like bool
	}{
		{file, true, false},
		{filepath.Base(file), false, false}, // a key in hexadecimal
		{filepath.Dir(file), true, false},
		{"missing.pem", false, true},
		{"/missing.pem", false, false},
		{"missing/key.pem", false, false},
		{"word.", false, false},
		{"a long text. With sentences", false, false},
	} {
		if got := IsPath(test.text); got != test.is {
			t.Errorf("%q is a path: %v", test.text, got)
		}
		if got := LooksLikePath(test.text); got != test.like {
			t.Errorf("%q looks like a path: %v", test.text, got)
		}
	}
}

// A key of openssl rand -hex 32 is looked at no further. Anything else is a path if there is such a
// file.
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
