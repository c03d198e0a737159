package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks checks that every relative link of every page leads to a file and a heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	headings := make(map[string][]string)
	for _, p := range all {
		headings[p.name] = p.headings
	}
	count := 0
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			count++
			file, anchor, _ := strings.Cut(target, "#")
			name := p.name
			if file != "" {
				name = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", p.name, target, err)
				continue
			}
			if anchor != "" && !slices.Contains(headings[name], anchor) {
				t.Errorf("%s: the link %s: no such heading in %s, there are %v", p.name, target, name, headings[name])
			}
		}
	}
	if count < 150 {
		t.Errorf("only %d links found", count)
	}
}

var (
	curl     = regexp.MustCompile(`(?m)^.*\bcurl\b(?:[^\n]*\\\n)*[^\n]*/message/[^\n]*(?:\\\n[^\n]*)*`)
	curlForm = regexp.MustCompile(`\s(-d|--data\S*)[\s']`)
)

// TestCurlSendsJSON checks that no command on the pages uses curl -d: it sends a form, which the
// endpoints refuse.
func TestCurlSendsJSON(t *testing.T) {
	count := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			for _, command := range curl.FindAllString(b.text, -1) {
				count++
				if curlForm.MatchString(command) && !strings.Contains(command, "Content-Type: application/json") {
					t.Errorf("%s:%d: 415 for %s: write --json instead of -d", p.name, b.line, command)
				}
			}
		}
	}
	if count < 34 {
		t.Errorf("only %d commands found", count)
	}
}

// TestIndexNamesEveryPage checks that docs/README.md links to all pages in its folder.
func TestIndexNamesEveryPage(t *testing.T) {
	index := readPage(t, "docs/README.md")
	for _, p := range pages(t) {
		name, ok := strings.CutPrefix(p.name, "docs/")
		if ok && name != "README.md" && !strings.Contains(index.text, "("+name+")") {
			t.Errorf("docs/README.md has no link to %s", name)
		}
	}
}
