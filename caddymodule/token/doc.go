// Package token verifies the JSON Web Tokens of one site and says who they belong to.
//
// A [Verifier] is made by [New] from a [Config] that names the one key, or set of keys, that the operator
// trusts: an HMAC secret, PEM public keys, or the URL of a JSON Web Key Set. [Verifier.Verify] then turns a
// token into an [Identity], or into one of three errors: [ErrInvalid], [ErrExpired] (which is an ErrInvalid
// too) and [ErrUnavailable].
//
// # How data flows
//
// A token passes a check of its size and alphabet, then the header decides which configured key is tried, then
// the signature, and only then do the claims count: iss, aud, nbf, iat, exp, the user's id and e-mail.
// Keys are sorted by algorithm before any token arrives, so that a key can only ever be used with an algorithm
// of its own kind: the text of an RSA public key is never an HMAC secret.
//
// With a key set, one goroutine fetches it, keeps it fresh and ends with the context given to New. Verify does
// not make requests; it may ask that goroutine for a fetch, at a limited rate, when a token names an unknown
// key, and waits a few seconds for it. Such a token is unavailable until a fetch that began later has no key for it
// either. A fetch that fails leaves the last good keys in use.
//
// # What it never does
//
// It never makes a request to a URL that comes from a token: jku, x5u, jwk, x5c and iss choose nothing.
// It never shares anything between Verifiers, so a key of one host cannot verify the token of another
// (the flaw of CVE-2026-49998). It never puts a token, a claim or a secret into an error.
package token
