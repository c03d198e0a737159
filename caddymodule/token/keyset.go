package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// maxKeys bounds a key set, because a token without a key id is tried with each of its keys.
const maxKeys = 100

// keySet is one state of a JSON Web Key Set (RFC 7517). It is not changed once made.
type keySet struct {
	// byAlgorithm has the keys that may be used with each algorithm, by its name.
	byAlgorithm map[string]keyfunc.Keyfunc
}

// parseKeySet decodes a key set. Keys that cannot verify a token signed with one of the allowed algorithms are left
// out, as are broken ones: key sets often hold keys for other purposes. A set without any key left is an error.
func parseKeySet(body []byte, allowed []algorithm) (_ *keySet, err error) {
	// The document is somebody else's, and a decoder that stumbles over it must not end the process.
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

	usable := make(map[string][]jwkset.JWK, len(allowed))
	for _, raw := range doc.Keys {
		// The zero options leave out secrets and private parts, and never fetch an x5u.
		k, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		for _, a := range allowed {
			if verifies(k, a) {
				usable[a.name] = append(usable[a.name], k)
			}
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("none of the %d keys in the key set is for %s", len(doc.Keys), joinNames(allowed))
	}

	set := &keySet{byAlgorithm: make(map[string]keyfunc.Keyfunc, len(usable))}
	for name, keys := range usable {
		store := jwkset.NewMemoryStorage()
		if err := store.KeyReplaceAll(context.Background(), keys); err != nil {
			return nil, err
		}
		if set.byAlgorithm[name], err = keyfunc.New(keyfunc.Options{Storage: store}); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// verifies reports whether k is meant for signatures with a: by its kind, and by alg, use and key_ops where it has
// them (RFC 7517 section 4).
func verifies(k jwkset.JWK, a algorithm) bool {
	m := k.Marshal()
	return a.fits(k.Key()) &&
		(m.ALG == "" || m.ALG.String() == a.name) &&
		(m.USE == "" || m.USE == jwkset.UseSig) &&
		(len(m.KEYOPS) == 0 || slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify))
}

// find returns the key that t names. When t names none, it returns the one that verifies it.
func (s *keySet) find(ctx context.Context, t *jwt.Token) (any, error) {
	keys, ok := s.byAlgorithm[t.Method.Alg()]
	if !ok {
		return nil, errUnknownKey
	}
	key, err := keys.KeyfuncCtx(ctx)(t)
	switch {
	case errors.Is(err, jwkset.ErrKeyNotFound):
		return nil, errUnknownKey
	case err != nil:
		return nil, errKeyID
	}
	if all, ok := key.(jwt.VerificationKeySet); ok {
		return verifying(t, all.Keys)
	}
	return key, nil
}

// verifying returns the key that verifies t. A new key without a key id is noticed by this alone.
func verifying(t *jwt.Token, keys []jwt.VerificationKey) (any, error) {
	signed := t.Raw[:strings.LastIndexByte(t.Raw, '.')]
	for _, key := range keys {
		if t.Method.Verify(signed, t.Signature, key) == nil {
			return key, nil
		}
	}
	return nil, errNoKeyFits
}
