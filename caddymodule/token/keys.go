package token

import (
	"context"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// keySource has the keys that the operator trusts.
type keySource interface {
	// find returns the key or jwt.VerificationKeySet to verify t with, whose algorithm is an allowed one. Nothing
	// else in t has been verified yet.
	find(ctx context.Context, t *jwt.Token) (any, error)
}

// fixedKeys are configured keys, sorted by the name of each algorithm that they may be used with.
type fixedKeys map[string]jwt.VerificationKeySet

func newFixedKeys(keys []any, allowed []algorithm) fixedKeys {
	f := make(fixedKeys, len(allowed))
	for _, a := range allowed {
		var set jwt.VerificationKeySet
		for _, k := range keys {
			if a.fits(k) {
				set.Keys = append(set.Keys, k)
			}
		}
		f[a.name] = set
	}
	return f
}

func (f fixedKeys) find(_ context.Context, t *jwt.Token) (any, error) {
	return f[t.Method.Alg()], nil
}

func fitsAny(key any, as []algorithm) bool {
	return slices.ContainsFunc(as, func(a algorithm) bool { return a.fits(key) })
}
