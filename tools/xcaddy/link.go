package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// linkReplacements replaces the absolute paths of replacements by relative ones: the go command
// writes them into the binary, whose bytes must not depend on the folder of the sources. The
// relative paths name links in a new temporary folder, in which xcaddy makes the folder of its
// module, too. unlink removes it.
func linkReplacements(b *xcaddy.Builder) (unlink func(), err error) {
	folder, err := os.MkdirTemp("", "xcaddy-")
	if err != nil {
		return nil, err
	}
	before, wasSet := os.LookupEnv("TMPDIR")
	unlink = func() {
		if wasSet {
			_ = os.Setenv("TMPDIR", before)
		} else {
			_ = os.Unsetenv("TMPDIR")
		}
		_ = os.RemoveAll(folder) // removes the links, not what they name
	}
	b.Replacements = slices.Clone(b.Replacements)
	for i, r := range b.Replacements {
		if !filepath.IsAbs(r.New.String()) {
			continue
		}
		module, _, _ := strings.Cut(r.Old.String(), "@")
		name := fmt.Sprintf("%s-%d", path.Base(module), i)
		if err := os.Symlink(r.New.String(), filepath.Join(folder, name)); err != nil {
			unlink()
			return nil, err
		}
		b.Replacements[i].New = xcaddy.ReplacementPath("../" + name)
	}
	if err := os.Setenv("TMPDIR", folder); err != nil {
		unlink()
		return nil, err
	}
	return unlink, nil
}
