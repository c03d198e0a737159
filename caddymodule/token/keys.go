package token

import (
	"context"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// keySource returns keys that the operator trusts.
type keySource interface {
	// find returns the key or jwt.VerificationKeySet to verify t with. The algorithm of t is
	// allowed; nothing else in t has been verified.
	find(ctx context.Context, t *jwt.Token) (any, error)
}

// fixedKeys are configured keys for each algorithm that they may be used with. They are few: a
// linear search is enough, and a map would be most of the memory of a site.
type fixedKeys []namedKeys

type namedKeys struct {
	name string // name of the algorithm
	set  jwt.VerificationKeySet
}

func newFixedKeys(keys []any, allowed []algorithm) fixedKeys {
	f := make(fixedKeys, len(allowed))
	for i, a := range allowed {
		f[i].name = a.name
		for _, k := range keys {
			if a.fits(k) {
				f[i].set.Keys = append(f[i].set.Keys, k)
			}
		}
	}
	return f
}

// of returns the keys for an algorithm.
func (f fixedKeys) of(name string) jwt.VerificationKeySet {
	for i := range f {
		if f[i].name == name {
			return f[i].set
		}
	}
	return jwt.VerificationKeySet{}
}

func (f fixedKeys) find(_ context.Context, t *jwt.Token) (any, error) {
	return f.of(t.Method.Alg()), nil
}

func fitsAny(key any, as []algorithm) bool {
	return slices.ContainsFunc(as, func(a algorithm) bool { return a.fits(key) })
}
