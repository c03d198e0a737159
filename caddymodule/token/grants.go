package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// maxPatterns is the maximum number of patterns in the claim with channels.
const maxPatterns = 256

var (
	errGrantsType = errors.New("it is neither an array of patterns nor an object of patterns and arrays of permissions")
	errManyGrants = fmt.Errorf("it has more than %d patterns", maxPatterns)
)

// readGrants reads the value of the claim with channels: an array of patterns, which grants all
// permissions, or an object of patterns and arrays of permissions. A null counts as missing. If it
// returns an error, the claim grants nothing.
func readGrants(claim string, value any) (*presence.Grants, error) {
	var patterns []presence.Grant
	var err error
	switch value := value.(type) {
	case nil:
	case []any:
		patterns, err = readPatterns(value)
	case map[string]any:
		patterns, err = readPermissions(value)
	default:
		err = errGrantsType
	}
	if err != nil || len(patterns) == 0 {
		return nil, err
	}
	return &presence.Grants{Claim: claim, Patterns: patterns}, nil
}

// maxGrants is the maximum size of grants that come without a token, in bytes.
const maxGrants = maxTokenBytes

var errGrantsSize = fmt.Errorf("it has more than %d bytes", maxGrants)

// ParseGrants returns the patterns of JSON in the form of the claim with channels, and within its
// limits.
func ParseGrants(channels []byte) ([]presence.Grant, error) {
	if len(channels) > maxGrants {
		return nil, errGrantsSize
	}
	var value any
	if err := json.Unmarshal(channels, &value); err != nil || value == nil {
		return nil, errGrantsType
	}
	g, err := readGrants("", value)
	if err != nil || g == nil {
		return nil, err
	}
	return g.Patterns, nil
}

// CheckGrants returns the error of ParseGrants.
func CheckGrants(channels []byte) error {
	_, err := ParseGrants(channels)
	return err
}

func readPatterns(value []any) ([]presence.Grant, error) {
	if len(value) > maxPatterns {
		return nil, errManyGrants
	}
	patterns := make([]presence.Grant, len(value))
	for i, v := range value {
		pattern, ok := v.(string)
		if !ok {
			return nil, errGrantsType
		}
		patterns[i] = presence.Grant{Pattern: pattern, May: presence.MayAll}
	}
	return patterns, nil
}

func readPermissions(value map[string]any) ([]presence.Grant, error) {
	if len(value) > maxPatterns {
		return nil, errManyGrants
	}
	patterns := make([]presence.Grant, 0, len(value))
	for _, pattern := range slices.Sorted(maps.Keys(value)) {
		words, ok := value[pattern].([]any)
		if !ok {
			return nil, errGrantsType
		}
		var may presence.Permissions
		for _, v := range words {
			word, ok := v.(string)
			if !ok {
				return nil, errGrantsType
			}
			may |= presence.ParsePermission(word)
		}
		patterns = append(patterns, presence.Grant{Pattern: pattern, May: may})
	}
	return patterns, nil
}
