package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of RSA keys in bits. The lower bound is from RFC 7518 section 3.3; the upper bound keeps
// verification cheap.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// algorithm is a signature algorithm of RFC 7518 section 3.1 or RFC 8037.
type algorithm struct {
	name      string
	symmetric bool
	fits      func(key any) bool // reports whether key, a public key or a secret, is of the algorithm's kind
}

// algorithms are the supported algorithms. The first one that fits a key is the key's default.
var algorithms = []algorithm{
	{"HS256", true, isSecret},
	{"HS384", true, isSecret},
	{"HS512", true, isSecret},
	{"RS256", false, isRSA},
	{"RS384", false, isRSA},
	{"RS512", false, isRSA},
	{"PS256", false, isRSA},
	{"PS384", false, isRSA},
	{"PS512", false, isRSA},
	{"ES256", false, isCurve(elliptic.P256())},
	{"ES384", false, isCurve(elliptic.P384())},
	{"ES512", false, isCurve(elliptic.P521())},
	{"EdDSA", false, isEd25519},
}

func isSecret(key any) bool {
	_, ok := key.([]byte)
	return ok
}

func isRSA(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits
}

// isCurve returns a test for keys on the curve. The JWT library does not compare the curve of a key
// with that of the algorithm.
func isCurve(c elliptic.Curve) func(any) bool {
	return func(key any) bool {
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == c
	}
}

func isEd25519(key any) bool {
	_, ok := key.(ed25519.PublicKey)
	return ok
}

// defaultAlgorithm returns the algorithm for key if the operator named none.
func defaultAlgorithm(key any) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.fits(key) })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// selectAlgorithms returns the named algorithms, without repetition. Symmetric ones are for secrets
// only, the others for public keys only: allowing both with one key is the classic algorithm
// confusion.
func selectAlgorithms(names []string, symmetric bool) ([]algorithm, error) {
	var selected []algorithm
	for _, name := range names {
		if strings.EqualFold(name, "none") {
			return nil, errors.New(`algorithm "none" is always refused, because it means no signature: remove it`)
		}
		i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown algorithm %q: use one of %s", name, joinNames(algorithms))
		}
		a := algorithms[i]
		switch {
		case a.symmetric && !symmetric:
			return nil, fmt.Errorf("algorithm %s needs a secret, but public keys are configured: use one of %s",
				name, joinNames(ofKind(false)))
		case !a.symmetric && symmetric:
			return nil, fmt.Errorf("algorithm %s needs a public key or a key set, but a secret is configured: use one of %s",
				name, joinNames(ofKind(true)))
		}
		if !slices.ContainsFunc(selected, func(s algorithm) bool { return s.name == name }) {
			selected = append(selected, a)
		}
	}
	return selected, nil
}

func ofKind(symmetric bool) []algorithm {
	var kind []algorithm
	for _, a := range algorithms {
		if a.symmetric == symmetric {
			kind = append(kind, a)
		}
	}
	return kind
}

func algorithmNames(as []algorithm) []string {
	names := make([]string, len(as))
	for i, a := range as {
		names[i] = a.name
	}
	return names
}

func joinNames(as []algorithm) string {
	return strings.Join(algorithmNames(as), ", ")
}
