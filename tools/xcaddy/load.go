package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// load reads the Builder in the named file. Relative paths in it are relative to the file. load
// makes them absolute, because xcaddy runs the go command in another folder.
func load(name string) (xcaddy.Builder, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("reading the build file: %w", err)
	}
	b, err := decode(data)
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("%s: %w", name, err)
	}
	folder, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("finding the folder of %s: %w", name, err)
	}
	makeAbsolute(&b, folder)
	return b, nil
}

// decode is stricter than xcaddy. It refuses unknown keys, which may be misspelt. It requires the
// versions of Caddy and of the plugins, so that the same file always gives the same build.
func decode(data []byte) (xcaddy.Builder, error) {
	var b xcaddy.Builder
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("decoding JSON at byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return b, fmt.Errorf("unexpected data after the JSON object at byte %d", d.InputOffset())
	}
	if b.CaddyVersion == "" {
		return b, errors.New("caddy_version is missing")
	}
	if len(b.Plugins) == 0 {
		return b, errors.New("plugins is missing or empty")
	}
	return b, nil
}

// makeAbsolute resolves the relative paths of b against folder. A replacement that starts with a
// dot is a path, as in go.mod; any other is a module path.
func makeAbsolute(b *xcaddy.Builder, folder string) {
	for i, r := range b.Replacements {
		if strings.HasPrefix(r.New.String(), ".") {
			b.Replacements[i].New = xcaddy.ReplacementPath(filepath.Join(folder, r.New.String()))
		}
	}
	for i, e := range b.EmbedDirs {
		if !filepath.IsAbs(e.Dir) {
			b.EmbedDirs[i].Dir = filepath.Join(folder, e.Dir)
		}
	}
	if b.PgoProfile != "" && !filepath.IsAbs(b.PgoProfile) {
		b.PgoProfile = filepath.Join(folder, b.PgoProfile)
	}
}
