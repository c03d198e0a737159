// Package plural formats numbers of things for people.
package plural

import (
	"fmt"
	"strings"
)

// Of formats n with its noun: "1 user", "2 users", "3 entries".
func Of[N ~int | ~int64 | ~uint32 | ~uint64](n N, noun string) string {
	if n != 1 {
		if stem, ok := strings.CutSuffix(noun, "y"); ok {
			noun = stem + "ie"
		}
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
