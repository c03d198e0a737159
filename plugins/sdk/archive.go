package sdk

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The archive has the format of golang.org/x/tools/txtar: a line "-- name --" before each file.
// Each file ends with a newline and contains no such line.
const (
	nameBefore = "-- "
	nameAfter  = " --\n"
)

// unpack returns the files of an archive by name.
func unpack(archive []byte) (map[string][]byte, error) {
	found := make(map[string][]byte)
	name := ""
	for line := range bytes.Lines(archive) {
		if next, ok := fileName(line); ok {
			name = next
			found[name] = []byte{}
			continue
		}
		if name == "" {
			return nil, fmt.Errorf("archive: %q comes before the first name", line)
		}
		found[name] = append(found[name], line...)
	}
	return found, nil
}

// pack is the reverse of unpack.
func pack(source map[string][]byte) ([]byte, error) {
	var archive []byte
	for _, name := range slices.Sorted(maps.Keys(source)) {
		data := source[name]
		if !bytes.HasSuffix(data, []byte("\n")) {
			return nil, fmt.Errorf("archive: %s does not end with a newline", name)
		}
		for line := range bytes.Lines(data) {
			if _, ok := fileName(line); ok {
				return nil, fmt.Errorf("archive: %s has the line %q, which starts a file", name, line)
			}
		}
		archive = append(archive, nameBefore+name+nameAfter...)
		archive = append(archive, data...)
	}
	return archive, nil
}

func fileName(line []byte) (string, bool) {
	name, ok := strings.CutPrefix(string(line), nameBefore)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, nameAfter)
}
