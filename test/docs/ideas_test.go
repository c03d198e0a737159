package docs

import (
	"slices"
	"strings"
	"testing"
)

// TestIdeasAreServed checks docs/plugin-ideas.md: its last Caddyfile, which TestExamples loads, has
// the lines that are shown for each plugin, and no plugin has more than 25 lines of C.
func TestIdeasAreServed(t *testing.T) {
	p := readPage(t, "docs/plugin-ideas.md")
	var shown []block
	var last string
	programs := 0
	for _, b := range p.blocks {
		switch b.lang {
		case "":
			shown = append(shown, b)
		case "caddyfile":
			last = b.text
		case "sh":
			if _, rest, ok := strings.Cut(b.text, "/plugin.c <<'END'\n"); ok {
				programs++
				program, _, _ := strings.Cut(rest, "\nEND\n")
				if lines := strings.Count(program, "\n") + 1; lines > 25 {
					t.Errorf("%s:%d: %d lines of C", p.name, b.line, lines)
				}
			}
		}
	}
	served := strings.Split(last, "\n")
	for _, b := range shown {
		lines := strings.Split(b.text, "\n")
		for i, line := range lines {
			lines[i] = "\t\t\t" + line
		}
		if i := slices.Index(served, lines[0]); i < 0 || i+len(lines) > len(served) || !slices.Equal(served[i:i+len(lines)], lines) {
			t.Errorf("%s:%d: the last Caddyfile does not have these lines", p.name, b.line)
		}
	}
	if len(shown) != 8 || programs != len(shown) {
		t.Errorf("%d plugins and lines of Caddyfile for %d, want 8", programs, len(shown))
	}
}
