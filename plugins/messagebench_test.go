package plugins

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// compiledGuest compiles a guest of testdata/guests with clang or with Debian's rustc.
func compiledGuest(t testing.TB, language string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), language+".wasm")
	var cmd *exec.Cmd
	switch language {
	case "C":
		cmd = exec.Command("clang", "--target=wasm32", "-O2", "-ffreestanding", "-nostdlib", "-Wl,--no-entry", "-o", out, "guest.c")
	case "Rust":
		cmd = exec.Command("rustc", "--target=wasm32-unknown-unknown", "--crate-type=cdylib", "-Copt-level=3", "-Cpanic=abort",
			"-o", out, "guest.rs")
		cmd.Env = append(os.Environ(), "PATH=/usr/bin"+string(os.PathListSeparator)+os.Getenv("PATH"))
		if debian, err := os.Stat("/usr/bin/rustc"); err == nil && !debian.IsDir() {
			cmd.Path = "/usr/bin/rustc"
			cmd.Err = nil
		}
	}
	cmd.Dir = filepath.Join("testdata", "guests")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s\nrun make deps", cmd, err, text)
	}
	return out
}

// messageOf returns a message of about the size, whose first key is given.
func messageOf(key string, size int) []byte {
	return fmt.Appendf(nil, `{%q:%q}`, key, bytes.Repeat([]byte{'x'}, size))
}

// BenchmarkMessage passes a message to a plugin that does not change it. Beside it is the copy of
// the message alone.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10} {
		message := messageOf("text", size)
		b.Run(fmt.Sprintf("%d bytes/copy", size), func(b *testing.B) {
			to := make([]byte, len(message))
			for b.Loop() {
				copy(to, message)
			}
		})
		for _, language := range []string{"C", "Rust"} {
			b.Run(fmt.Sprintf("%d bytes/%s", size, language), func(b *testing.B) {
				e := newEngine(b, EngineConfig{})
				c := NewChain(load(b, e, Spec{Path: compiledGuest(b, language)}))
				from := Sender{User: &User{ID: "ada", Email: "ada@example.com"}, Connection: "C0Kq3xT"}
				b.ReportAllocs()
				for b.Loop() {
					got, err := c.Message("portal.example.com", "lobby", Authenticated, from, message, 1<<20)
					if err != nil || len(got) != len(message) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkStore has a guest in C call the store a hundred times in a message. It reports the time
// of one call, without the message.
func BenchmarkStore(b *testing.B) {
	e := newEngine(b, EngineConfig{})
	c := NewChain(load(b, e, Spec{Path: compiledGuest(b, "C")}))
	send := func(b *testing.B, message []byte) {
		if _, err := c.Message("portal.example.com", "lobby", Authenticated, Sender{Backend: true}, message, 1000); err != nil {
			b.Fatal(err)
		}
	}
	each := func(b *testing.B, message []byte) float64 {
		for b.Loop() {
			send(b, message)
		}
		return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	}
	pass := 0.0
	b.Run("pass", func(b *testing.B) { pass = each(b, []byte(`{"p":1}`)) })
	for name, message := range map[string]string{"kv_add": `{"k":1}`, "kv_get": `{"g":1}`} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric((each(b, []byte(message))-pass)/100, "ns/call")
		})
	}
}

// The guests of the benchmarks do what the benchmarks measure.
func TestGuestsOfTheBenchmarks(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for _, language := range []string{"C", "Rust"} {
		c := NewChain(load(t, e, Spec{Path: compiledGuest(t, language), Name: language}))
		for _, key := range []string{"p", "k", "g"} {
			message := messageOf(key, 10)
			got, err := c.Message("h", "c", Authenticated, Sender{Backend: true}, message, 1000)
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s: %s, %v", language, got, err)
			}
		}
	}
	if got, ok := e.config.Stores.open("C", "h", e.memory).get([]byte("messages|0123456789"), e.clock()); !ok || got.number != 100 {
		t.Errorf("the counter is %+v", got)
	}
}
