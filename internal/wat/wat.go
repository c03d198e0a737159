// Package wat compiles WebAssembly text to modules, for tests. It runs wat2wasm from Debian's
// package wabt, which "make deps" installs.
package wat

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Has is the function $has: it takes a byte, a pointer and a number of bytes there, and returns 1
// if the byte is one of them.
const Has = `  (func $has (param $mark i32) (param $p i32) (param $n i32) (result i32)
    (loop $next (result i32)
      (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
      (if (i32.eq (i32.load8_u (local.get $p)) (local.get $mark)) (then (return (i32.const 1))))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))`

// Compile compiles a text and writes the module to a file. The flags are those of wat2wasm.
func Compile(t testing.TB, file, text string, flags ...string) {
	t.Helper()
	cmd := exec.Command("wat2wasm", append(flags, "--output="+file, "-")...)
	cmd.Stdin = strings.NewReader(text)
	switch out, err := cmd.CombinedOutput(); {
	case errors.Is(err, exec.ErrNotFound):
		t.Fatal("wat2wasm is missing: apt-get install wabt, or make deps")
	case err != nil:
		t.Fatalf("wat2wasm for %s: %v\n%s\n%s", file, err, out, text)
	}
}

// Edited reads a text and replaces parts of it, pair by pair. Each part must exist.
func Edited(t testing.TB, path string, pairs ...string) string {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q", path, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}
