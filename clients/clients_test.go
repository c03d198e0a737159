package clients_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/clients"
)

// maxSize bounds the client on the wire, in bytes, compressed. Connecting, logging in and presence
// take 3 KiB. The rest is for staying correct in a page that is hidden, frozen or offline, for
// several holders of a channel, for channels that the server joins, and for logins that end.
const maxSize = 5 * 1024

func TestClientIsSmall(t *testing.T) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(clients.JS)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("client.js: %d bytes, %d compressed", len(clients.JS), b.Len())
	if b.Len() >= maxSize {
		t.Errorf("client.js is %d bytes compressed, want less than %d", b.Len(), maxSize)
	}
}

func TestCommentsAreNotServed(t *testing.T) {
	script, err := os.ReadFile("js/rollcall.js")
	if err != nil {
		t.Fatal(err)
	}
	source, served := strings.Split(string(script), "\n"), strings.Split(clients.JS, "\n")
	if len(served) != len(source) || served[0] != source[0] {
		t.Errorf("%d lines are served of %d, the first is %q", len(served), len(source), served[0])
	}
	comments := 0
	for i, line := range source[1:] {
		code, _, commented := strings.Cut(line, "// ")
		if commented {
			comments++
		}
		if got := served[i+1]; strings.TrimRight(code, " ") != got {
			t.Errorf("line %d is served as %q, want %q", i+2, got, code)
		}
	}
	if comments == 0 {
		t.Error("rollcall.js has no comments")
	}
}

func TestETags(t *testing.T) {
	strong := regexp.MustCompile(`^"[0-9a-f]{32}"$`)
	for _, tag := range []string{clients.JSETag, clients.TypesETag} {
		if !strong.MatchString(tag) {
			t.Errorf("%s is not a strong entity tag of ours", tag)
		}
	}
	if clients.JSETag == clients.TypesETag {
		t.Errorf("both files have the entity tag %s", clients.JSETag)
	}
}

var (
	jsClass   = regexp.MustCompile(`(?ms)^(export )?class (\w+)(?: extends (\w+))? \{\n(.*?)^\}`)
	typeClass = regexp.MustCompile(`(?ms)^export class (\w+)(?:<[^>]*>)?(?: extends (\w+))? \{\n(.*?)^\}`)
	method    = regexp.MustCompile(`(?m)^  (?:async |private )?(\w+)(?:<.*?>)?\(`)
)

// methods returns the public methods in the body of a class, sorted.
func methods(body string) []string {
	var names []string
	for _, m := range method.FindAllStringSubmatch(body, -1) {
		if name := m[1]; name != "constructor" && !strings.HasPrefix(name, "_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestTypesNameWhatIsExported(t *testing.T) {
	declared := make(map[string][]string)
	for _, m := range typeClass.FindAllStringSubmatch(clients.Types, -1) {
		declared[m[1]] = methods(m[3])
	}
	own := make(map[string][]string)
	exported := 0
	for _, m := range jsClass.FindAllStringSubmatch(clients.JS, -1) {
		export, name, parent, body := m[1], m[2], m[3], m[4]
		own[name] = methods(body)
		if export == "" {
			continue
		}
		exported++
		want := slices.Sorted(slices.Values(slices.Concat(own[name], own[parent])))
		got, ok := declared[name]
		if !ok {
			t.Errorf("client.d.ts does not declare %s", name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("client.d.ts declares the methods %q of %s, client.js has %q", got, name, want)
		}
	}
	if n := strings.Count(clients.JS, "\nexport "); exported != n || len(declared) != n {
		t.Errorf("client.js has %d exports, of which %d classes; client.d.ts declares %d", n, exported, len(declared))
	}
	if want := []string{"authenticate", "close", "connect", "join", "send", "setStatus"}; !slices.Equal(own["Rollcall"], want) {
		t.Errorf("methods of Rollcall in client.js: %q, want %q", own["Rollcall"], want)
	}
}

// TestClientBehaves runs the tests in *_test.mjs, which need Node.js 20 or later and nothing else.
func TestClientBehaves(t *testing.T) {
	files, err := filepath.Glob("js/test/*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--test", "--test-reporter=tap"}
	for _, name := range files {
		if _, err := os.ReadFile(name); err != nil { // so that go test reruns when a file changes
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.mjs") {
			args = append(args, name)
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("the tests of client.js need Node.js 20 or later: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), node, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("node %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	summary := regexp.MustCompile(`(?m)^# (tests|pass|skipped|todo) (\d+)$`)
	n := make(map[string]string)
	for _, m := range summary.FindAllSubmatch(out, -1) {
		n[string(m[1])] = string(m[2])
	}
	if n["tests"] == "" || n["tests"] == "0" || n["pass"] != n["tests"] || n["skipped"] != "0" || n["todo"] != "0" {
		t.Fatalf("not every test ran: %v\n%s", n, out)
	}
	t.Logf("node: %s tests passed", n["pass"])
}
