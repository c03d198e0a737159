// Package token verifies the JSON Web Tokens of one site and returns the users that they identify.
//
// [New] makes a [Verifier] from a [Config], which names the keys that the operator trusts: an HMAC
// secret, PEM public keys, or the URL of a JSON Web Key Set. [Verifier.Verify] turns a token into
// an [Identity], or into one of three errors: [ErrInvalid], [ErrExpired] (which is an ErrInvalid,
// too) and [ErrUnavailable].
//
// # How data flows
//
// Verify first checks the size and alphabet of the token. The header decides which configured key
// is tried, then comes the signature, and only then the claims: iss, aud, nbf, iat, exp, the user's
// ID and e-mail. Keys are sorted by algorithm before any token arrives, so that a key can be used
// only with an algorithm of its own kind: the text of an RSA public key is never an HMAC secret.
//
// With a key set, one goroutine fetches it at intervals, and ends with the context given to New.
// Verify makes no requests. When a token names an unknown key, Verify may request a fetch from that
// goroutine, at a limited rate, and waits a few seconds for it. Such a token is unavailable until a
// fetch that started later has no key for it either. A failed fetch leaves the last good keys in
// use.
//
// # What it never does
//
// It never makes a request to a URL from a token: jku, x5u, jwk, x5c and iss choose nothing. It
// never shares anything between Verifiers, so a key of one host cannot verify the token of another
// (the flaw of CVE-2026-49998). It never puts a token, a claim or a secret into an error.
package token
