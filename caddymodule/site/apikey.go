package site

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Keys are the API keys of a site. Only their hashes are kept. The zero value allows no key.
type Keys struct {
	Open   bool // "off": every request is allowed
	hashes [][sha256.Size]byte
	// Set is a hash of all hashes. It is equal for sites with the same keys in any order, and zero
	// without keys.
	Set [sha256.Size]byte
}

// OpenKeys returns Keys that allow every request.
func OpenKeys() Keys { return Keys{Open: true} }

// NewKeys parses keys. Each is a key, or "sha256:" and the hexadecimal hash of one. Errors show no
// part of a key.
func NewKeys(texts []string) (Keys, error) {
	var keys Keys
	for i, key := range texts {
		kind, encoded, named := strings.Cut(key, ":")
		if !named || !strings.EqualFold(kind, "sha256") {
			keys.hashes = append(keys.hashes, sha256.Sum256([]byte(key)))
			continue
		}
		var hash [sha256.Size]byte
		raw, err := hex.DecodeString(encoded)
		if err != nil || copy(hash[:], raw) != sha256.Size || len(raw) != sha256.Size {
			return Keys{}, fmt.Errorf("api_key: number %d: after sha256: come 64 hexadecimal digits", i+1)
		}
		keys.hashes = append(keys.hashes, hash)
	}
	keys.Set = hashOfSet(keys.hashes)
	return keys, nil
}

func hashOfSet(hashes [][sha256.Size]byte) (set [sha256.Size]byte) {
	switch len(hashes) {
	case 0:
		return set
	case 1:
		return sha256.Sum256(hashes[0][:])
	}
	sorted := slices.Clone(hashes)
	slices.SortFunc(sorted, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, hash := range slices.Compact(sorted) {
		h.Write(hash[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Allow reports whether the key is one of the site's. It takes the same time for every wrong key,
// including the missing one.
func (k Keys) Allow(key string) bool {
	if k.Open {
		return true
	}
	given, found := sha256.Sum256([]byte(key)), 0
	for i := range k.hashes {
		found |= subtle.ConstantTimeCompare(given[:], k.hashes[i][:])
	}
	return found == 1 && key != ""
}
