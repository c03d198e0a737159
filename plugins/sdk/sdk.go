package sdk

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed go.txtar cases.json
//go:embed rust/Cargo.toml rust/README.md rust/src all:rust/template
//go:embed assemblyscript/README.md assemblyscript/*.ts assemblyscript/README.md all:assemblyscript/template
//go:embed c/rollcall.h all:c/template
var files embed.FS

// languages maps a language to the folder of the SDK in a project.
var languages = map[string]string{
	"go":             "rollcall",
	"rust":           "rollcall",
	"assemblyscript": "assembly/rollcall",
	"c":              ".",
}

// placeholder stands for the name of the plugin in the files of a template.
const placeholder = "PLUGIN_NAME"

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// Languages returns the languages that New accepts, sorted.
func Languages() []string {
	list := make([]string, 0, len(languages))
	for lang := range languages {
		list = append(list, lang)
	}
	slices.Sort(list)
	return list
}

// New writes the project of a new plugin with the hooks into dir, and creates dir if necessary. In
// it, the command make builds plugin.wasm. No hooks stand for [DefaultHooks].
//
// # Errors
//
// New refuses
//   - a language that is not one of [Languages],
//   - a hook that is not one of [Hooks],
//   - a name with characters other than lower-case letters, digits and hyphens,
//   - the name "rollcall", which is the SDK's, and
//   - a dir that is not empty.
//
// If it fails later, the files written so far stay.
func New(lang, dir, name string, hooks ...string) error {
	place, ok := languages[lang]
	if !ok {
		return fmt.Errorf("language %q is not known: want one of %s", lang, strings.Join(Languages(), ", "))
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("plugin name %q: want at most 64 lower-case letters, digits and hyphens, a letter first", name)
	}
	if name == "rollcall" {
		return errors.New(`plugin name "rollcall": this is the name of the SDK, choose another`)
	}
	if len(hooks) == 0 {
		hooks = DefaultHooks
	}
	for _, h := range hooks {
		if !slices.Contains(Hooks, h) {
			return fmt.Errorf("hook %q is not known: want some of %s", h, strings.Join(Hooks, ", "))
		}
	}
	if err := checkEmpty(dir); err != nil {
		return err
	}
	source, err := assemble(lang, place, name, hooks)
	if err != nil {
		return fmt.Errorf("reading the %s template: %w", lang, err)
	}
	for _, file := range slices.Sorted(maps.Keys(source)) {
		if err := write(filepath.Join(dir, filepath.FromSlash(file)), source[file]); err != nil {
			return fmt.Errorf("writing the project: %w", err)
		}
	}
	return nil
}

// checkEmpty accepts an empty folder or a path that does not exist.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("a new project needs an empty or new folder: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("a new project needs an empty or new folder: %s holds %s", dir, entries[0].Name())
	}
	return nil
}

// assemble returns the files of a new project by path, with slashes.
func assemble(lang, place, name string, hooks []string) (map[string][]byte, error) {
	source, err := sources(lang)
	if err != nil {
		return nil, err
	}
	made := make(map[string][]byte, len(source)+1)
	if made["cases.json"], err = cases(hooks); err != nil {
		return nil, fmt.Errorf("cases.json: %w", err)
	}
	for file, data := range source {
		if inTemplate, ok := strings.CutPrefix(file, "template/"); ok {
			kept, err := keep(data, hooks)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			made[inTemplate] = bytes.ReplaceAll(kept, []byte(placeholder), []byte(name))
		} else {
			made[path.Join(place, file)] = data
		}
	}
	return made, nil
}

// sources returns the files of a language's folder by path.
func sources(lang string) (map[string][]byte, error) {
	if lang == "go" {
		data, err := files.ReadFile("go.txtar")
		if err != nil {
			return nil, err
		}
		return unpack(data)
	}
	found := make(map[string][]byte)
	err := fs.WalkDir(files, lang, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case isBuilt(entry.Name()) && entry.IsDir():
			return fs.SkipDir
		case isBuilt(entry.Name()) || entry.IsDir():
			return nil
		}
		data, err := files.ReadFile(file)
		found[strings.TrimPrefix(file, lang+"/")] = data
		return err
	})
	return found, err
}

// isBuilt reports whether name is left behind by building a template in place.
func isBuilt(name string) bool {
	return slices.Contains([]string{"target", "node_modules", "build"}, name) ||
		slices.Contains([]string{".wasm", ".wat", ".o"}, path.Ext(name))
}

func write(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
