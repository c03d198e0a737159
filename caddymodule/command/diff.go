package command

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// differences compares two JSON values as encoding/json decodes them. It names each place that
// differs, with a path like .room[0].email.
func differences(path string, have, want any) (list []string) {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			break
		}
		for _, key := range sortedKeys(w) {
			if value, ok := h[key]; ok {
				list = append(list, differences(path+"."+key, value, w[key])...)
			} else {
				list = append(list, fmt.Sprintf("%s.%s: want %s, it is missing", path, key, shown(w[key])))
			}
		}
		for _, key := range sortedKeys(h) {
			if _, ok := w[key]; !ok {
				list = append(list, fmt.Sprintf("%s.%s: not wanted, got %s", path, key, shown(h[key])))
			}
		}
		return list
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			break
		}
		for i := range w {
			list = append(list, differences(fmt.Sprintf("%s[%d]", path, i), h[i], w[i])...)
		}
		return list
	}
	if reflect.DeepEqual(have, want) {
		return nil
	}
	if path == "" {
		path = "the result"
	}
	return []string{fmt.Sprintf("%s: want %s, got %s", path, shown(want), shown(have))}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// shown returns a value as JSON.
func shown(value any) string {
	text, _ := json.Marshal(value) // it came from JSON
	return shortened(text)
}

// shortened returns the beginning of a text, with runes escaped that could move the cursor of a
// terminal.
func shortened(text []byte) string {
	const most = 200
	if len(text) > most {
		return escapeControls(string(text[:most])) + "..."
	}
	return escapeControls(string(text))
}
