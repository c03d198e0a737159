package token

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// maxKeys is the maximum number of keys in a set, because a token without a key ID is tried with
// each of them.
const maxKeys = 100

// keySet is one state of a JSON Web Key Set (RFC 7517). It is immutable.
type keySet struct {
	// byAlgorithm has the keys for each algorithm, by its name.
	byAlgorithm map[string]*algorithmKeys
}

// algorithmKeys are the keys for one algorithm.
type algorithmKeys struct {
	all  []jwt.VerificationKey          // in the order of the set
	byID map[string]jwt.VerificationKey // first key of each ID; "" is the ID of keys without one
}

// parseKeySet decodes a key set. It leaves out broken keys, and keys that cannot verify an allowed
// algorithm: key sets often contain keys for other purposes. It returns an error if no key is left.
func parseKeySet(body []byte, allowed []algorithm) (_ *keySet, err error) {
	// The document is not under our control: a panic of the decoder must not end the process.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode key set: panic: %v", p)
		}
	}()

	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("decode key set: %w", err)
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, the limit is %d", len(doc.Keys), maxKeys)
	}

	set := &keySet{byAlgorithm: make(map[string]*algorithmKeys, len(allowed))}
	for _, raw := range doc.Keys {
		// The zero options drop secrets and private parts, and never fetch an x5u.
		k, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		for _, a := range allowed {
			if verifies(k, a) {
				set.add(a, k)
			}
		}
	}
	if len(set.byAlgorithm) == 0 {
		return nil, fmt.Errorf("none of the %d keys in the key set is for %s", len(doc.Keys), joinNames(allowed))
	}
	return set, nil
}

func (s *keySet) add(a algorithm, k jwkset.JWK) {
	keys := s.byAlgorithm[a.name]
	if keys == nil {
		keys = &algorithmKeys{byID: make(map[string]jwt.VerificationKey)}
		s.byAlgorithm[a.name] = keys
	}
	keys.all = append(keys.all, k.Key())
	if id := k.Marshal().KID; keys.byID[id] == nil {
		keys.byID[id] = k.Key()
	}
}

// verifies reports whether k may verify signatures with a, by its kind, and by alg, use and key_ops
// if present (RFC 7517 section 4).
func verifies(k jwkset.JWK, a algorithm) bool {
	m := k.Marshal()
	return a.fits(k.Key()) &&
		(m.ALG == "" || m.ALG.String() == a.name) &&
		(m.USE == "" || m.USE == jwkset.UseSig) &&
		(len(m.KEYOPS) == 0 || slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify))
}

// find returns the key that t names. If t names none, it returns a key that verifies t.
func (s *keySet) find(_ context.Context, t *jwt.Token) (any, error) {
	keys := s.byAlgorithm[t.Method.Alg()]
	if keys == nil {
		return nil, errUnknownKey
	}
	named, ok := t.Header[jwkset.HeaderKID]
	if !ok {
		return findVerifying(t, keys.all)
	}
	id, ok := named.(string)
	if !ok {
		return nil, errKeyID
	}
	key, ok := keys.byID[id]
	if !ok {
		return nil, errUnknownKey
	}
	return key, nil
}

// findVerifying returns the key that verifies t. Only this notices a new key without a key ID.
func findVerifying(t *jwt.Token, keys []jwt.VerificationKey) (any, error) {
	signed := t.Raw[:strings.LastIndexByte(t.Raw, '.')]
	for _, key := range keys {
		if t.Method.Verify(signed, t.Signature, key) == nil {
			return key, nil
		}
	}
	return nil, errNoKeyFits
}
