//go:build unix

package plugins

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCompiledCodeIsNotLoadedFromAFolderOfOthers(t *testing.T) {
	private := func(name string) string {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	open := private("open")
	if err := os.Chmod(open, 0o750); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(private("target"), link); err != nil {
		t.Fatal(err)
	}
	foreign := "/" // belongs to the superuser
	if os.Geteuid() == 0 {
		foreign = private("foreign")
		if err := os.Chown(foreign, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		dir       string
		forbidden bool
	}{"open": {open, true}, "foreign": {foreign, true}, "link": {link, false}} {
		_, err := NewEngine(EngineConfig{CacheDir: test.dir})
		if err == nil || errors.Is(err, fs.ErrPermission) != test.forbidden {
			t.Errorf("%s: got %v", name, err)
		}
	}
	newEngine(t, EngineConfig{CacheDir: private("good")})
}
