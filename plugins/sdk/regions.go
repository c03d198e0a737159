package sdk

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Hooks are the names of the hooks that [New] can write, in the order in which Rollcall calls them.
var Hooks = []string{"connect", "classify", "authorize", "message", "members", "shape"}

// DefaultHooks are the hooks of a new project that asks for none.
var DefaultHooks = []string{"classify", "members"}

// marker is a line of a template: "[hook a b]" begins lines that are written if one of the hooks is
// chosen, and "[end]" ends them.
var marker = regexp.MustCompile(`^\s*(?:(?://!?|/?\*|#|<!--)\s*){1,2}\[(end|hook((?: [a-z]+)+))\]\s*(?:\*/|-->)?\s*$`)

// lastComma is a comma after the last value of a list of JSON.
var lastComma = regexp.MustCompile(`,(\s*[\]}])`)

// keep returns a file of a template with the lines of the chosen hooks, without markers.
func keep(file []byte, hooks []string) ([]byte, error) {
	var kept []byte
	inside, wanted := false, true
	for line := range bytes.Lines(file) {
		found := marker.FindSubmatch(line)
		switch {
		case found == nil:
			if wanted {
				kept = append(kept, line...)
			}
		case string(found[1]) == "end":
			if !inside {
				return nil, fmt.Errorf("[end] without a [hook]")
			}
			inside, wanted = false, true
		case inside:
			return nil, fmt.Errorf("%s within a region", found[1])
		default:
			inside = true
			wanted = slices.ContainsFunc(strings.Fields(string(found[2])), func(h string) bool { return slices.Contains(hooks, h) })
		}
	}
	if inside {
		return nil, fmt.Errorf("a [hook] without an [end]")
	}
	for i, r := range tidied {
		kept = r.ReplaceAll(kept, []byte(tidyTo[i]))
	}
	return kept, nil
}

// tidied are the blank lines that regions leave where they were left out, and tidyTo what replaces
// them.
var (
	tidied = []*regexp.Regexp{regexp.MustCompile(`\n{3,}`), regexp.MustCompile(`([({]\n)\n+`), regexp.MustCompile(`\n+$`)}
	tidyTo = []string{"\n\n", "$1", "\n"}
)

// cases returns the cases of the chosen hooks for "rollcall-plugin test".
func cases(hooks []string) ([]byte, error) {
	all, err := files.ReadFile("cases.json")
	if err != nil {
		return nil, err
	}
	kept, err := keep(all, hooks)
	return lastComma.ReplaceAll(kept, []byte("$1")), err
}
