package description

import "strings"

// escape returns a key as a part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// keys returns the keys of a JSON pointer.
func keys(pointer string) []string {
	all := strings.Split(pointer, "/")[1:]
	for i, key := range all {
		all[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
	}
	return all
}
