package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Read returns the content of a file.
func Read(t testing.TB, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Without returns the environment without the variables in names, and with others.
func Without(names []string, with ...string) []string {
	environ := os.Environ()
	kept := environ[:0]
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		drop := false
		for _, n := range names {
			drop = drop || n == name
		}
		if !drop {
			kept = append(kept, variable)
		}
	}
	return append(kept, with...)
}

// Blocks returns the code blocks of a language in a Markdown file.
func Blocks(t testing.TB, file, language string) (blocks []string) {
	t.Helper()
	for _, part := range strings.Split(string(Read(t, file)), "\n```"+language+"\n")[1:] {
		code, _, ok := strings.Cut(part, "\n```\n")
		if !ok {
			t.Fatalf("%s: a block without an end", file)
		}
		blocks = append(blocks, code+"\n")
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no code in %s", file, language)
	}
	return blocks
}
