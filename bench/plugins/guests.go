package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Guests. Their sources are in testdata, in folders of the same names; those for Extism are in
// testdata/extism.
const (
	guestC      = "c"
	guestRust   = "rust"
	guestAS     = "assemblyscript"
	guestGo     = "go"
	guestGoJSON = "gojson"
	extismC     = "extism-c"
	extismGo    = "extism-go"
)

// title is the name of each guest in the tables.
var title = map[string]string{
	guestC: "C", guestRust: "Rust", guestAS: "AssemblyScript", guestGo: "Go", guestGoJSON: "Go, encoding/json",
}

// guest is a built module.
type guest struct {
	path string
	wasm []byte
}

// buildGuests builds all guests in dir.
func buildGuests(ctx context.Context, caddy, dir string) (map[string]guest, error) {
	caddy, err := filepath.Abs(caddy)
	if err != nil {
		return nil, err
	}
	sources, err := findSources()
	if err != nil {
		return nil, err
	}
	guests := make(map[string]guest)
	add := func(name, path string) error {
		wasm, err := os.ReadFile(path)
		guests[name] = guest{path: path, wasm: wasm}
		return err
	}
	for _, g := range []struct{ name, lang, main string }{
		{guestC, "c", "plugin.c"},
		{guestRust, "rust", "src/lib.rs"},
		{guestAS, "assemblyscript", "assembly/index.ts"},
		{guestGo, "go", "main.go"},
		{guestGoJSON, "go", "main.go"},
	} {
		project := filepath.Join(dir, g.name)
		if err := command(ctx, dir, nil, caddy, "rollcall-plugin", "new", "--lang", g.lang, project); err != nil {
			return nil, err
		}
		main := filepath.Join(project, g.main)
		if err := copyFile(main, filepath.Join(sources, g.name, filepath.Base(main))); err != nil {
			return nil, err
		}
		if err := copyFile(filepath.Join(project, "rules.h"), filepath.Join(sources, "rules.h")); err != nil {
			return nil, err
		}
		var env []string
		if g.lang == "rust" { // Debian's supports WebAssembly; one that is earlier in the path often does not
			env = []string{"PATH=/usr/bin" + string(os.PathListSeparator) + os.Getenv("PATH")}
		}
		if modules := filepath.Join(os.Getenv("ROLLCALL_ASSEMBLYSCRIPT"), "node_modules"); g.lang == "assemblyscript" {
			if _, err := os.Stat(filepath.Join(modules, ".bin", "asc")); err == nil { // otherwise npm fetches the compiler
				if err := os.Symlink(modules, filepath.Join(project, "node_modules")); err != nil {
					return nil, err
				}
			}
		}
		if err := command(ctx, project, env, "make"); err != nil {
			return nil, err
		}
		if err := add(g.name, filepath.Join(project, "plugin.wasm")); err != nil {
			return nil, err
		}
	}
	if err := buildExtism(ctx, sources, dir); err != nil {
		return nil, err
	}
	for _, name := range []string{extismC, extismGo} {
		if err := add(name, filepath.Join(dir, name+".wasm")); err != nil {
			return nil, err
		}
	}
	return guests, nil
}

// buildExtism builds the guests for Extism, with the same commands as the SDKs.
func buildExtism(ctx context.Context, sources, dir string) error {
	sources = filepath.Join(sources, "extism")
	object := filepath.Join(dir, "extism.o")
	out := func(name string) string { return filepath.Join(dir, name+".wasm") }
	if err := command(ctx, sources, nil, "clang", "--target=wasm32", "-O2", "-mbulk-memory", "-ffreestanding",
		"-c", "-o", object, "guest.c"); err != nil {
		return err
	}
	if err := command(ctx, sources, nil, "wasm-ld", "--no-entry", "--strip-all", "--stack-first", "-z", "stack-size=16384",
		"-o", out(extismC), object); err != nil {
		return err
	}
	return command(ctx, sources, []string{"GOOS=wasip1", "GOARCH=wasm"}, "go", "build", "-buildmode=c-shared", "-trimpath",
		"-ldflags=-s -w", "-o", out(extismGo), "guest.go")
}

// findSources returns the folder testdata, whether the program runs in the module's folder, as with
// make, or in its own.
func findSources() (string, error) {
	for _, dir := range []string{"plugins/testdata", "testdata"} {
		if _, err := os.Stat(filepath.Join(dir, "rules.h")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", fmt.Errorf("the sources of the guests are not here: run this in the folder bench")
}

// command runs a program and waits for it. The error includes its output.
func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
