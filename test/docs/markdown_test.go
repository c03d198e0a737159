package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the repository, relative to this folder.
const root = "../.."

// page is one Markdown file.
type page struct {
	name     string // relative to the repository
	text     string
	prose    string // text without code
	blocks   []block
	orders   []order
	headings []string
}

// block is a fenced block of code.
type block struct {
	lang, text string
	line       int
}

// order is a test comment. next is the index of the first block after it.
type order struct {
	verb string
	args string
	line int
	next int
}

var (
	testComment = regexp.MustCompile(`^<!-- test: (\w+) ?(.*?) -->$`)
	heading     = regexp.MustCompile(`^#{1,6} +(.*)$`)
	inlineCode  = regexp.MustCompile("`[^`]*`")
)

// pages reads README.md, the other pages at the root, those in docs and its folders, examples,
// clients and the SDKs of plugins.
func pages(t *testing.T) []page {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*/*.md", "plugins/sdk/*/*.md", "clients/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) < 20 {
		t.Fatalf("only %d pages found: %v", len(names), names)
	}
	all := make([]page, 0, len(names))
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(t, filepath.ToSlash(relative), string(raw)))
	}
	return all
}

// checked returns the pages with examples that are run: README.md and docs.
func checked(t *testing.T) []page {
	t.Helper()
	var some []page
	for _, p := range pages(t) {
		if p.name == "README.md" || strings.HasPrefix(p.name, "docs/") {
			some = append(some, p)
		}
	}
	return some
}

func readPage(t *testing.T, name string) page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("%s is missing", name)
	return page{}
}

func parse(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name, text: text}
	var code *block
	var lines, prose []string
	for i, line := range strings.Split(text, "\n") {
		fence := strings.HasPrefix(line, "```")
		switch {
		case code != nil && fence:
			code.text = strings.Join(lines, "\n")
			p.blocks = append(p.blocks, *code)
			code = nil
		case code != nil:
			lines = append(lines, line)
		case fence:
			code, lines = &block{lang: strings.TrimPrefix(line, "```"), line: i + 1}, nil
		default:
			if m := testComment.FindStringSubmatch(line); m != nil {
				p.orders = append(p.orders, order{verb: m[1], args: m[2], line: i + 1, next: len(p.blocks)})
			} else if strings.Contains(line, "<!-- test") {
				t.Errorf("%s:%d: malformed test comment: %s", name, i+1, line)
			}
			if m := heading.FindStringSubmatch(line); m != nil {
				p.headings = append(p.headings, slug(m[1]))
			}
			prose = append(prose, inlineCode.ReplaceAllString(line, ""))
		}
	}
	if code != nil {
		t.Errorf("%s:%d: the block has no end", name, code.line)
	}
	p.prose = strings.Join(prose, "\n")
	return p
}

// slug returns the anchor of a heading, as on GitHub.
func slug(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case c == ' ':
			b.WriteByte('-')
		case c == '-', c == '_', unicode.IsLetter(c), unicode.IsDigit(c):
			b.WriteRune(c)
		}
	}
	return b.String()
}

// blockAt returns the block that an order refers to.
func (p page) blockAt(t *testing.T, o order, offset int, langs ...string) block {
	t.Helper()
	i := o.next + offset
	if i >= len(p.blocks) {
		t.Fatalf("%s:%d: no block follows", p.name, o.line)
	}
	if !slices.Contains(langs, p.blocks[i].lang) {
		t.Fatalf("%s:%d: the block is %q, want one of %q", p.name, p.blocks[i].line, p.blocks[i].lang, langs)
	}
	return p.blocks[i]
}
