package token

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// These tests run in synctest bubbles: waits are instant and exact, and a goroutine that outlives
// its context fails the test.

const keysURL = "https://issuer.example/keys?token=" + canary

func edToken(t *testing.T, kid string) string {
	t.Helper()
	return sign(t, "EdDSA", edKey, goodClaims(fields{"exp": nil}), fields{"kid": kid})
}

// rotated returns a token signed by the other key, under its own key ID.
func rotated(t *testing.T, kid string) string {
	t.Helper()
	return sign(t, "EdDSA", otherEdKey, goodClaims(fields{"exp": nil}), fields{"kid": kid})
}

func TestVerifyWaitsForTheFirstFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		release := i.hold()
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		begun := time.Now()
		time.AfterFunc(3*time.Second, release)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := v.Verify(t.Context(), edToken(t, "1"), testHost); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("Verify took %v, want 3s", took)
		}
		if n := i.requests(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestVerifyWaitsForTheFirstFetchOnlyAWhile(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration // timeout of the caller
		want    time.Duration
	}{
		{"patient caller", time.Hour, maxWait},
		{"hasty caller", time.Second, time.Second},
		{"caller that is gone", -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(nil)
				defer i.hold()()
				v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				begun := time.Now()
				_, err := v.Verify(ctx, edToken(t, "1"), testHost)
				if want := "key set unavailable"; err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				if took := time.Since(begun); took != tt.want {
					t.Errorf("Verify took %v, want %v", took, tt.want)
				}
			})
		})
	}
}

func TestVerifyUnavailableUntilTheIssuerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logLines
		i := newIssuer(nil)
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client(), Logger: log.add})
		for range 3 {
			begun := time.Now()
			mustRefuse(t, v, edToken(t, "1"), ErrUnavailable)
			if took := time.Since(begun); took != 0 {
				t.Errorf("Verify took %v although no fetch is under way", took)
			}
		}
		// A token that is invalid with any key is refused at once.
		mustRefuse(t, v, sign(t, "HS256", testSecret, goodClaims(nil), nil), ErrInvalid)

		i.set(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		time.Sleep(firstRetry)
		synctest.Wait()
		mustVerify(t, v, edToken(t, "1"))
		want := []string{
			"key set not fetched, no token can be verified: https://issuer.example/keys: connection refused",
			"key set fetched again",
		}
		if got := log.all(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestRetriesBecomeRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(nil)
		mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		time.Sleep(time.Hour)
		// 1 + 2 + 4 + 8 + 16 + 32 s, then every 48 to 60 s.
		if n := i.requests(); n < 60 || n > 85 {
			t.Errorf("%d requests in an hour of outage, want 60 to 85", n)
		}
	})
}

func TestRetriesBeginAnewAfterAGoodFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(nil)
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		time.Sleep(time.Hour)
		i.set(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		time.Sleep(lastRetry)
		mustVerify(t, v, edToken(t, "1"))

		i.set(nil)
		mustRefuse(t, v, edToken(t, "2"), ErrUnavailable) // asks for a fetch, which fails
		n := i.requests()
		time.Sleep(firstRetry)
		synctest.Wait()
		if again := i.requests() - n; again != 1 {
			t.Errorf("%d requests in the first second of an outage, want 1", again)
		}
	})
}

func TestFetchAnswersTheRequestsBeforeIt(t *testing.T) {
	r := newRemoteKeys(t.Context(), Config{}, mustParse(t, keysURL), nil)
	r.startFetch()
	r.endFetch(nil, nil)
	end := r.requestFetch(t.Context(), 1)
	r.startFetch() // because of the timer, at the same moment
	if len(r.wake) != 0 {
		t.Error("the request is still pending and would cause another fetch")
	}
	r.endFetch(nil, nil)
	select {
	case <-end:
	default:
		t.Error("the caller is not woken")
	}
}

func TestOutageKeepsTheLastGoodKeys(t *testing.T) {
	bad := map[string][]byte{
		"connection fails": nil,
		"no key set":       []byte("<html>"),
		"no key":           []byte(`{"keys":[]}`),
		"too long":         []byte(`{"keys":[` + strings.Repeat(" ", maxKeySetBytes) + `]}`),
	}
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logLines
				i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
				v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client(), Logger: log.add})
				mustVerify(t, v, edToken(t, "1"))
				i.set(body)
				time.Sleep(2 * time.Hour)
				mustVerify(t, v, edToken(t, "1"))
				// An unknown key may exist.
				mustRefuse(t, v, rotated(t, "2"), ErrUnavailable)
				// A known key is final.
				mustRefuse(t, v, rotated(t, "1"), ErrInvalid)
				lines := log.all()
				if len(lines) == 0 || !strings.HasPrefix(lines[0], "key set not fetched, the last good keys stay in use: ") {
					t.Errorf("log: %q", lines)
				}
				if strings.Contains(strings.Join(lines, "\n"), canary) {
					t.Errorf("the log has the query of the URL: %s", lines[0])
				}
			})
		})
	}
}

func TestRefreshBringsAndRemovesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		i.set(keySetJSON(t, jwk(otherEdKey, fields{"kid": "2"})))
		time.Sleep(refreshInterval)
		synctest.Wait()
		if n := i.requests(); n != 2 {
			t.Errorf("%d requests after one interval, want 2", n)
		}
		mustVerify(t, v, rotated(t, "2"))
		mustRefuse(t, v, edToken(t, "1"), ErrInvalid)
	})
}

func TestUnknownKeyIDFetchesTheNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		i.set(keySetJSON(t, jwk(edKey, fields{"kid": "1"}), jwk(otherEdKey, fields{"kid": "2"})))

		// All calls during the fetch wait for it.
		release := i.hold()
		time.AfterFunc(2*time.Second, release)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := v.Verify(t.Context(), rotated(t, "2"), testHost); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := i.requests(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		mustVerify(t, v, edToken(t, "1"))
	})
}

func TestUnknownKeyIDsAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		unknown := edToken(t, "no such key")
		begun, before := time.Now(), i.requests()
		for time.Since(begun) < 10*time.Minute {
			if _, err := v.Verify(t.Context(), unknown, testHost); err == nil {
				t.Fatal("Verify accepted an unknown key id")
			}
			time.Sleep(time.Second)
		}
		most := int(10*time.Minute/requestInterval) + 1
		if n := i.requests() - before; n < 2 || n > most {
			t.Errorf("%d requests for 600 tokens in 10 minutes, want 2 to %d", n, most)
		}
		mustVerify(t, v, edToken(t, "1"))
	})
}

// A fetch is shared: a caller that gives up does not cancel it for others.
func TestCallerWhoLeavesDoesNotEndTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		i.set(keySetJSON(t, jwk(otherEdKey, fields{"kid": "2"})))
		release := i.hold()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, edToken(t, "no such key"), testHost); err == nil {
			t.Error("Verify accepted an unknown key id")
		}
		release()
		mustVerify(t, v, rotated(t, "2"))
		if n := i.requests(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

func TestFetchIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logLines
		i := newIssuer(nil)
		defer i.hold()()
		mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client(), Logger: log.add})
		time.Sleep(fetchTimeout)
		synctest.Wait()
		lines := log.all()
		if len(lines) != 1 || !strings.HasSuffix(lines[0], context.DeadlineExceeded.Error()) {
			t.Errorf("log: %q, want one deadline", lines)
		}
	})
}

func TestContextEndsTheVerifier(t *testing.T) {
	for _, held := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log logLines
			i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
			ctx, cancel := context.WithCancel(t.Context())
			v, err := New(ctx, Config{JWKSURL: keysURL, HTTPClient: i.client(), Logger: log.add})
			if err != nil {
				t.Fatal(err)
			}
			mustVerify(t, v, edToken(t, "1"))
			if held { // in the middle of a fetch
				defer i.hold()()
				for i.requests() == 1 {
					time.Sleep(time.Second)
				}
			}
			cancel()
			synctest.Wait()
			n := i.requests()

			time.Sleep(24 * time.Hour)
			mustVerify(t, v, edToken(t, "1"))
			begun := time.Now()
			for range 3 {
				mustRefuse(t, v, edToken(t, "2"), ErrUnavailable)
			}
			if took := time.Since(begun); took != 0 {
				t.Errorf("Verify waited %v for a fetch that never comes", took)
			}
			if i.requests() != n {
				t.Errorf("%d requests after the end", i.requests()-n)
			}
			if lines := log.all(); len(lines) != 0 {
				t.Errorf("log: %q", lines)
			}
		})
	}
}

func TestVerifyConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := keySetJSON(t, jwk(edKey, fields{"kid": "1"}))
		second := keySetJSON(t, jwk(edKey, fields{"kid": "1"}), jwk(otherEdKey, fields{"kid": "2"}))
		i := newIssuer(first)
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		good, unknown, stranger := edToken(t, "1"), edToken(t, "3"), rotated(t, "1")
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				for range 20 {
					if _, err := v.Verify(t.Context(), good, testHost); err != nil {
						t.Error(err)
					}
					if _, err := v.Verify(t.Context(), unknown, testHost); err == nil {
						t.Error("Verify accepted an unknown key id")
					}
					if _, err := v.Verify(t.Context(), stranger, testHost); err == nil {
						t.Error("Verify accepted the key of a stranger")
					}
					time.Sleep(time.Duration(n+1) * time.Second)
					i.set([][]byte{first, second, nil}[n%3])
				}
			})
		}
		all.Wait()
	})
}
