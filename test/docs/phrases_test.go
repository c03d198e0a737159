package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unplain are phrases that readers stumble over, each with a replacement. Phrases with innocent
// uses are not listed.
var unplain = map[string]string{
	`\btells? whether\b`: "reports whether",
	`\bany longer\b`:     "no longer",
	`\bof late\b`:        "recently",
}

// TestPhrases looks for unplain phrases in the comments of all Go files and in all pages.
func TestPhrases(t *testing.T) {
	patterns := make(map[*regexp.Regexp]string, len(unplain))
	for phrase, instead := range unplain {
		patterns[regexp.MustCompile("(?i)"+strings.ReplaceAll(phrase, " ", `[\s/]+`))] = instead
	}
	check := func(where, text string) {
		for pattern, instead := range patterns {
			for _, found := range pattern.FindAllString(text, -1) {
				t.Errorf("%s: %q: write %q", where, found, instead)
			}
		}
	}
	comments := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); path != root && (name[0] == '.' || name == "node_modules" || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		case filepath.Ext(path) != ".go":
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, group := range f.Comments {
			comments++
			var text strings.Builder
			for _, c := range group.List {
				text.WriteString(c.Text + "\n")
			}
			check(files.Position(group.Pos()).String(), text.String())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		check(p.name, p.text)
	}
	if comments < 5500 {
		t.Errorf("only %d comments found", comments)
	}
}
