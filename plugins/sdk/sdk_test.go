package sdk

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write go.txtar")

// TestGoArchive compares the archive with the module that it is made of.
func TestGoArchive(t *testing.T) {
	source := make(map[string][]byte)
	module := os.DirFS("go")
	err := fs.WalkDir(module, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		tested := strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(file, "template/")
		switch {
		case isBuilt(entry.Name()) || entry.Name() == "testdata":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || tested:
			return nil
		}
		data, err := fs.ReadFile(module, file)
		source[file] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := pack(source)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("go.txtar", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := files.ReadFile("go.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("go.txtar differs from plugins/sdk/go; update it: go test ./plugins/sdk -run TestGoArchive -update")
	}
}

func TestArchive(t *testing.T) {
	source := map[string][]byte{"a": []byte("x\ny\n"), "b/c": []byte("\n")}
	archive, err := pack(source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unpack(archive)
	if err != nil || !maps.EqualFunc(got, source, bytes.Equal) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"no newline", "x\n-- name --\n"} {
		if _, err := pack(map[string][]byte{"a": []byte(bad)}); err == nil {
			t.Errorf("%q is packed", bad)
		}
	}
	if _, err := unpack([]byte("x\n")); err == nil {
		t.Error("an archive without a name is read")
	}
}

func TestNewWritesAProject(t *testing.T) {
	want := map[string][]string{
		"go":             {"main.go", "go.mod", "rollcall/go.mod", "rollcall/members/member.go"},
		"rust":           {"Cargo.toml", ".cargo/config.toml", "src/lib.rs", "rollcall/Cargo.toml", "rollcall/src/lib.rs"},
		"assemblyscript": {"package.json", "assembly/index.ts", "assembly/rollcall/index.ts"},
		"c":              {"plugin.c", "rollcall.h"},
	}
	for _, lang := range Languages() {
		t.Run(lang, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "deep", "project")
			if err := New(lang, dir, "my-plugin"); err != nil {
				t.Fatal(err)
			}
			for _, file := range slices.Concat(want[lang], []string{"README.md", "Makefile", ".gitignore"}) {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					t.Error(err)
				}
			}
			err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				data, err := os.ReadFile(file)
				if bytes.Contains(data, []byte(placeholder)) {
					t.Errorf("%s still has the placeholder of the name", file)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil || !bytes.Contains(readme, []byte("my-plugin")) {
				t.Errorf("the README does not name the plugin (%v)", err)
			}
		})
	}
}

func TestNewTakesAnEmptyFolder(t *testing.T) {
	if err := New("c", t.TempDir(), "x"); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	full := t.TempDir()
	file := filepath.Join(full, "notes.txt")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ lang, dir, name, want string }{
		"an unknown language":    {"cobol", "", "x", `language "cobol" is not known: want one of assemblyscript, c, go, rust`},
		"no name":                {"c", "", "", `plugin name ""`},
		"a name with a slash":    {"c", "", "../x", "lower-case letters"},
		"a name with capitals":   {"c", "", "MyPlugin", "lower-case letters"},
		"a name with a line":     {"c", "", "x\ny", "lower-case letters"},
		"a long name":            {"c", "", strings.Repeat("x", 65), "at most 64"},
		"the name of the SDK":    {"rust", "", "rollcall", "choose another"},
		"a folder with a file":   {"c", full, "x", "holds notes.txt"},
		"a file":                 {"c", file, "x", "empty or new folder"},
		"a folder that can't be": {"c", filepath.Join(file, "x"), "x", "not a directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := tt.dir
			if dir == "" {
				dir = filepath.Join(t.TempDir(), "new")
			}
			err := New(tt.lang, dir, tt.name)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "Makefile")); err == nil {
				t.Error("a project was written all the same")
			}
		})
	}
}
