package docs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sortByText(list []any) {
	text := func(v any) string {
		b, _ := json.Marshal(v) // cannot fail: v was decoded from JSON
		return string(b)
	}
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(text(a), text(b)) })
}

// TestExamples runs the examples of the pages and compares their output.
func TestExamples(t *testing.T) {
	ran := 0
	for _, p := range checked(t) {
		if len(p.orders) == 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			var s *server
			for _, o := range p.orders {
				switch o.verb {
				case "serve":
					s = p.serve(t, o)
				case "deploy":
					s = p.deploy(t, o)
				case "pod":
					s.command(t, strings.Fields(o.args)...)
				case "caddyfile":
					s.configure(t, p.blockAt(t, o, 0, "caddyfile").text)
				case "run":
					p.run(t, s, o)
					ran++
				case "frames":
					p.play(t, s, o)
					ran++
				case "pusher":
					p.playPusher(t, s, o)
					ran++
				case "error": // TestCaddyfiles
				default:
					t.Errorf("%s:%d: unknown test comment: %s", p.name, o.line, o.verb)
				}
			}
		})
	}
	if ran < 36 {
		t.Errorf("only %d examples were run", ran)
	}
}

// serve starts the server for the examples that follow.
func (p page) serve(t *testing.T, o order) *server {
	t.Helper()
	clients := strings.Fields(o.args)
	var text, dir string
	if len(clients) > 0 && !strings.ContainsAny(clients[0], ":@") {
		raw, err := os.ReadFile(filepath.Join(root, clients[0]))
		if err != nil {
			t.Fatalf("%s:%d: %v", p.name, o.line, err)
		}
		text, dir, clients = string(raw), root, clients[1:]
	} else {
		text = p.blockAt(t, o, 0, "caddyfile").text
	}
	s := serve(t, text, dir)
	s.enter(t, clients)
	return s
}

// run runs a shell example and compares its output.
func (p page) run(t *testing.T, s *server, o order) {
	t.Helper()
	how := p.howToRun(t, o)
	script := p.blockAt(t, o, 0, "sh")
	want := p.blockAt(t, o, 1, "json", "http", "text")
	// An example that needs no server may come before one is served.
	text, home, admin := script.text, t.TempDir(), ""
	if s != nil {
		text, home, admin = s.local(text), s.home, s.admin
	}
	deadline := time.Now().Add(patience)
	for i := 1; ; i++ {
		cmd := exec.Command("sh", "-e", "-c", text)
		var stdout, stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = home, environment(home, admin), &stdout, &stderr
		if err := cmd.Run(); (err != nil) != how.fails {
			t.Fatalf("%s:%d: %v\n%s%s", p.name, script.line, err, stdout.String(), stderr.String())
		}
		got := stdout.String()
		if how.fails {
			got = stderr.String()
		}
		if how.until && time.Now().Before(deadline) && canonical(t, got) != canonical(t, want.text) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if i >= how.times {
			p.compare(t, want, got, how.numbers)
			return
		}
	}
}

// howToRun has the words after run.
type howToRun struct {
	times                 int
	until, fails, numbers bool
}

func (p page) howToRun(t *testing.T, o order) howToRun {
	t.Helper()
	how := howToRun{times: 1}
	for word := range strings.FieldsSeq(o.args) {
		switch word {
		case "until":
			how.until = true
		case "fails":
			how.fails = true
		case "numbers":
			how.numbers = true
		default:
			var err error
			if how.times, err = strconv.Atoi(word); err != nil {
				t.Fatalf("%s:%d: unknown word %q", p.name, o.line, word)
			}
		}
	}
	return how
}

// varying matches times, IDs of connections, numbers, with a unit of time, and hashes. Column
// widths depend on them.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|[0-9a-f]{64}|[A-Za-z0-9_-]{22}|\b[0-9]+(\.[0-9]+)?(µs|ms|s)?\b| {2,}`)

// compare compares output with a block.
func (p page) compare(t *testing.T, want block, got string, numbers bool) {
	t.Helper()
	got = strings.ReplaceAll(got, "\r\n", "\n")
	switch want.lang {
	case "json":
		p.same(t, want, canonical(t, got), canonical(t, want.text))
	case "http":
		p.sameResponse(t, want, got)
	default:
		shown := want.text
		if numbers {
			got, shown = varying.ReplaceAllString(got, "N"), varying.ReplaceAllString(shown, "N")
		}
		p.same(t, want, strings.TrimSpace(got), strings.TrimSpace(shown))
	}
}

// sameResponse compares the status, the headers that are shown, and the body.
func (p page) sameResponse(t *testing.T, want block, got string) {
	t.Helper()
	gotHead, gotBody, _ := strings.Cut(got, "\n\n")
	wantHead, wantBody, hasBody := strings.Cut(want.text, "\n\n")
	gotLines, wantLines := strings.Split(gotHead, "\n"), strings.Split(wantHead, "\n")
	p.same(t, want, gotLines[0], wantLines[0])
	for _, line := range wantLines[1:] {
		if !slices.Contains(gotLines[1:], line) {
			t.Errorf("%s:%d: the header %q is not among\n%s", p.name, want.line, line, gotHead)
		}
	}
	if hasBody {
		p.same(t, want, canonical(t, gotBody), canonical(t, wantBody))
	}
}

func (p page) same(t *testing.T, at block, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:%d: got\n%s\nwant\n%s", p.name, at.line, got, want)
	}
}

// play sends and receives the frames of an example.
func (p page) play(t *testing.T, s *server, o order) {
	t.Helper()
	script := p.blockAt(t, o, 0, "text")
	ahead := 0 // maximum of frames before the expected one
	switch o.args {
	case "":
	case "unordered":
		ahead = 1
	default:
		t.Fatalf("%s:%d: unknown word %q", p.name, o.line, o.args)
	}
	clients := make(map[string]*client)
	for i, line := range strings.Split(script.text, "\n") {
		at := block{line: script.line + 1 + i}
		name, rest, ok := strings.Cut(line, " ")
		if !ok || len(name) < 2 {
			t.Fatalf("%s:%d: neither NAME> nor NAME<: %s", p.name, at.line, line)
		}
		name, direction := name[:len(name)-1], name[len(name)-1]
		c := clients[name]
		if c == nil {
			c = s.connect(t, name)
			clients[name] = c
			if !strings.Contains(rest, `"welcome"`) {
				c.expect(t, "welcome")
			}
		}
		switch direction {
		case '>':
			c.send(t, shownToken.ReplaceAllString(strings.TrimSpace(rest), `"`+sign(t, name)+`"`))
		case '<':
			p.same(t, at, c.next(t, canonical(t, rest), ahead), canonical(t, rest))
		default:
			t.Fatalf("%s:%d: neither NAME> nor NAME<: %s", p.name, at.line, line)
		}
	}
	// No other frames came than those on the page.
	for _, c := range clients {
		if len(c.early) > 0 {
			t.Errorf("%s:%d: %s also got %q", p.name, script.line, c.name, c.early)
		}
		c.send(t, `{"type":"ping","id":"end"}`)
		p.same(t, script, c.receive(t), `{"type":"pong","id":"end"}`)
	}
}
