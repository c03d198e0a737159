package token

import (
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The pattern of CVE-2026-49998: two tenants whose issuers use the same key ID for different keys,
// the same user ID, and even the same claims. In any order, and also while both key sets are being
// fetched, neither may accept a token of the other.
func TestHostsNeverShareKeys(t *testing.T) {
	hosts := []string{"a.example.com", "b.example.com"}
	keys := []ed25519.PrivateKey{edKey, otherEdKey}

	remote := func(t *testing.T) ([]*Verifier, []*issuer, func()) {
		verifiers, issuers, releases := make([]*Verifier, 2), make([]*issuer, 2), make([]func(), 2)
		for n := range hosts {
			issuers[n] = newIssuer(keySetJSON(t, jwk(keys[n], fields{"kid": "1"})))
			releases[n] = issuers[n].hold()
			// The URL is the same, too; different servers respond, as with a split DNS.
			verifiers[n] = mustNew(t, Config{JWKSURL: keysURL, HTTPClient: issuers[n].client()})
		}
		return verifiers, issuers, func() {
			for _, release := range releases {
				release()
			}
		}
	}
	tokenOf := func(t *testing.T, n int) string {
		return sign(t, "EdDSA", keys[n], fields{"sub": "USER_1"}, fields{"kid": "1"})
	}
	check := func(t *testing.T, verifiers []*Verifier, tokens []string) {
		for v := range verifiers {
			for k := range tokens {
				_, err := verifiers[v].Verify(t.Context(), tokens[k], testHost)
				switch {
				case v == k && err != nil:
					t.Errorf("%s refuses its own token: %v", hosts[v], err)
				case v != k && !errors.Is(err, ErrInvalid):
					t.Errorf("%s and the token of %s: error %v, want ErrInvalid", hosts[v], hosts[k], err)
				}
			}
		}
	}

	t.Run("key sets", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			verifiers, issuers, release := remote(t)
			tokens := []string{tokenOf(t, 0), tokenOf(t, 1)}
			time.AfterFunc(time.Second, release)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { check(t, verifiers, tokens) })
			}
			all.Wait()
			for n, i := range issuers {
				if i.requests() != 1 {
					t.Errorf("%d requests for the keys of %s, want 1", i.requests(), hosts[n])
				}
			}
		})
	})

	t.Run("unknown key ids", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			verifiers, issuers, release := remote(t)
			release()
			check(t, verifiers, []string{tokenOf(t, 0), tokenOf(t, 1)})
			// Unknown key IDs of one host neither fetch the keys of the other nor use up its rate.
			for n := range 10 {
				want := ErrUnavailable // until the next fetch
				if n == 0 {
					want = ErrInvalid
				}
				if _, err := verifiers[0].Verify(t.Context(), edToken(t, "2"), testHost); !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			if a, b := issuers[0].requests(), issuers[1].requests(); a != 2 || b != 1 {
				t.Errorf("%d and %d requests, want 2 and 1", a, b)
			}
			issuers[1].set(keySetJSON(t, jwk(otherEdKey, fields{"kid": "2"})))
			if _, err := verifiers[1].Verify(t.Context(), rotated(t, "2"), testHost); err != nil {
				t.Error(err)
			}
		})
	})

	t.Run("outage of one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			verifiers, issuers, release := remote(t)
			issuers[0].set(nil)
			release()
			if _, err := verifiers[1].Verify(t.Context(), tokenOf(t, 1), testHost); err != nil {
				t.Error(err)
			}
			for n := range hosts {
				if _, err := verifiers[0].Verify(t.Context(), tokenOf(t, n), testHost); !errors.Is(err, ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
			}
		})
	})

	t.Run("PEM keys", func(t *testing.T) {
		verifiers := make([]*Verifier, 2)
		for n := range hosts {
			verifiers[n] = mustNew(t, Config{PublicKeyPEM: publicPEM(t, keys[n])})
		}
		check(t, verifiers, []string{tokenOf(t, 0), tokenOf(t, 1)})
	})

	t.Run("secrets", func(t *testing.T) {
		secrets := [][]byte{testSecret, otherSecret}
		verifiers, tokens := make([]*Verifier, 2), make([]string, 2)
		for n := range hosts {
			verifiers[n] = mustNew(t, Config{Secret: secrets[n]})
			tokens[n] = sign(t, "HS256", secrets[n], fields{"sub": "USER_1"}, fields{"kid": "1"})
		}
		check(t, verifiers, tokens)
	})
}
