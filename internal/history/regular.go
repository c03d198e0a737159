package history

import (
	"errors"
	"fmt"
	"slices"
)

// checkRegular checks each read by itself, also those at rest.
func checkRegular(ops []Operation) error {
	var errs []error
	for _, o := range ops {
		if !o.writes() && !regular(ops, o) {
			errs = append(errs, fmt.Errorf("%w: %s", ErrNotRegular, o))
		}
	}
	return errors.Join(errs...)
}

// regular reports whether a read may return its value: a write of it was concurrent, or was the
// last complete one before the read. An unfinished write is concurrent with all after its call. Of
// writes that were concurrent with each other, any may be the last.
func regular(ops []Operation, read Operation) bool {
	if read.Value == "" && !slices.ContainsFunc(ops, func(w Operation) bool { return before(w, read) }) {
		return true
	}
	return slices.ContainsFunc(ops, func(w Operation) bool {
		if !w.writes() || w.Value != read.Value || w.Call > read.Return {
			return false
		}
		return !before(w, read) || !slices.ContainsFunc(ops, func(later Operation) bool {
			return before(w, later) && before(later, read)
		})
	})
}

// before reports whether a complete write returned before another operation was called.
func before(w, o Operation) bool { return w.Kind == Write && w.Return < o.Call }
