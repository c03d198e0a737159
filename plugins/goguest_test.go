//go:build !race

package plugins

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These tests do not run under the race detector: it makes compiling Go guests slow, and sees
// nothing of them.

// maskEmail builds the example of the Go SDK.
func maskEmail(t testing.TB) string {
	t.Helper()
	return goGuest(t, filepath.Join("..", "examples", "mask-email"))
}

// goClassifier builds the template of a Go plugin: it opens the channels whose names start with a
// prefix.
func goClassifier(t testing.TB) string {
	t.Helper()
	sdk, err := filepath.Abs(filepath.Join("sdk", "go"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const path = "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	for name, text := range map[string]string{
		"go.mod": "module guest\ngo 1.24\nrequire " + path + " v0.0.0\nreplace " + path + " => " + strconv.Quote(sdk) + "\n",
		"main.go": `package main
import (
	"strings"
	rollcall "` + path + `"
	"` + path + `/classify"
)
func main() {}
func init() {
	classify.Handle(func(r *rollcall.Request) rollcall.Decision {
		for _, prefix := range []string{"help", "anonymous-"} {
			if strings.HasPrefix(r.Channel, prefix) {
				return rollcall.Anonymous
			}
		}
		return rollcall.NoOpinion
	})
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return goGuest(t, dir)
}

// goGuest builds the plugin in a folder.
func goGuest(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-buildvcs=false -mod=mod", "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

func TestGoGuestMasksEmailAddresses(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: maskEmail(t), Limits: Limits{ShapeTimeout: 10 * time.Second}})
	if err := p.Try(t.Context(), "h"); err != nil {
		t.Fatal(err)
	}
	got, err := collect(NewChain(p).Members(t.Context(), EndpointUsers, "h", nil, users(1000, func(int) string { return "u" })))
	if err != nil || len(got) != 1000 {
		t.Fatalf("%d users, %v", len(got), err)
	}
	for _, object := range got {
		if !strings.HasPrefix(object, `{"id":"u","email":"`) || strings.Contains(object, "user") {
			t.Fatalf("got %s", object)
		}
	}
}

func BenchmarkMembersGo(b *testing.B) {
	e := newEngine(b, EngineConfig{})
	c := NewChain(load(b, e, Spec{Path: maskEmail(b)}))
	b.ReportAllocs()
	n := b.N
	b.ResetTimer()
	m := c.Members(b.Context(), EndpointUsers, "h", nil, func() (User, bool) {
		n--
		return User{ID: "8f14e45fceea167a", Email: "somebody.else@example.com"}, n >= 0
	})
	for {
		if _, err := m.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassifyGo(b *testing.B) {
	e := newEngine(b, EngineConfig{})
	c := NewChain(load(b, e, Spec{Path: goClassifier(b)}))
	b.ReportAllocs()
	for b.Loop() {
		if d, err := c.Classify("portal.example.com", "anonymous-lobby", Authenticated); err != nil || d.Kind != Anonymous {
			b.Fatal(d, err)
		}
	}
}

func TestGoGuestWithoutTheMarkerIsNotCalledForBrowsers(t *testing.T) {
	withoutTheMarker(t, "mask-email", `{"keep":"1"}`,
		`{"id":"ada","email":"a***@example.com"} {"id":"sam","email":"s***@staff.example"}`)
}
