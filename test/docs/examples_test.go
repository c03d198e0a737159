package docs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func sortByText(list []any) {
	text := func(v any) string {
		b, _ := json.Marshal(v) // what was decoded can be encoded
		return string(b)
	}
	slices.SortFunc(list, func(a, b any) int { return cmp.Compare(text(a), text(b)) })
}

// TestExamples runs what the pages show and compares the answers.
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
				case "run":
					p.run(t, s, o)
					ran++
				case "frames":
					p.play(t, s, o)
					ran++
				case "error": // TestCaddyfiles
				default:
					t.Errorf("%s:%d: unknown comment for the tests: %s", p.name, o.line, o.verb)
				}
			}
		})
	}
	if ran < 10 {
		t.Errorf("only %d examples were run", ran)
	}
}

// serve starts the server for the examples that follow.
func (p page) serve(t *testing.T, o order) *server {
	t.Helper()
	clients := strings.Fields(o.args)
	var text string
	if len(clients) > 0 && !strings.Contains(clients[0], ":") {
		raw, err := os.ReadFile(filepath.Join(root, clients[0]))
		if err != nil {
			t.Fatalf("%s:%d: %v", p.name, o.line, err)
		}
		text, clients = string(raw), clients[1:]
	} else {
		text = p.blockAt(t, o, 0, "caddyfile").text
	}
	s := serve(t, text, root)
	s.enter(t, clients)
	return s
}

// run runs a shell example and compares its output.
func (p page) run(t *testing.T, s *server, o order) {
	t.Helper()
	script := p.blockAt(t, o, 0, "sh")
	want := p.blockAt(t, o, 1, "json", "http", "text")
	times := 1
	if o.args != "" {
		var err error
		if times, err = strconv.Atoi(o.args); err != nil {
			t.Fatalf("%s:%d: %v", p.name, o.line, err)
		}
	}
	// An example that needs no server may come before one is served.
	text, home, admin := script.text, t.TempDir(), ""
	if s != nil {
		text, home, admin = s.local(text), s.home, s.admin
	}
	var out []byte
	for range times {
		cmd := exec.Command("sh", "-e", "-c", text)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stderr = home, environment(home, admin), &stderr
		var err error
		if out, err = cmd.Output(); err != nil {
			t.Fatalf("%s:%d: %v\n%s", p.name, script.line, err, stderr.String())
		}
	}
	got := strings.ReplaceAll(string(out), "\r\n", "\n")
	switch want.lang {
	case "json":
		p.same(t, want, canonical(t, got), canonical(t, want.text))
	case "http":
		p.sameResponse(t, want, got)
	default:
		p.same(t, want, strings.TrimSpace(got), strings.TrimSpace(want.text))
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
			p.same(t, at, canonical(t, c.receive(t)), canonical(t, rest))
		default:
			t.Fatalf("%s:%d: neither NAME> nor NAME<: %s", p.name, at.line, line)
		}
	}
	// Nothing else came than what is shown.
	for _, c := range clients {
		c.send(t, `{"type":"ping","id":"end"}`)
		p.same(t, script, c.receive(t), `{"type":"pong","id":"end"}`)
	}
}
