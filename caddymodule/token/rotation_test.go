package token

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A token with a key newer than the last fetch is not refused: its user would be locked out for
// good.
func TestRotatedKeyIsUnavailableUntilTheNextFetch(t *testing.T) {
	old := jwk(edKey, fields{"kid": "1"})
	tests := []struct {
		name string
		kid  fields // header fields of the new token
	}{
		{"with a key id", fields{"kid": "2"}},
		{"without a key id", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(keySetJSON(t, old))
				v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
				mustVerify(t, v, edToken(t, "1"))
				mustRefuse(t, v, edToken(t, "a stranger's"), ErrInvalid) // asks for a fetch

				i.set(keySetJSON(t, old, jwk(otherEdKey, tt.kid)))
				raw := sign(t, "EdDSA", otherEdKey, goodClaims(fields{"exp": nil}), tt.kid)
				mustRefuse(t, v, raw, ErrUnavailable)
				mustVerify(t, v, edToken(t, "1"))
				time.Sleep(requestInterval + requestInterval/5)
				mustVerify(t, v, raw)
			})
		})
	}
}

// A token that comes shortly before the next fetch waits for it.
func TestUnknownKeyWaitsForTheNextFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		asked := time.Now()
		mustRefuse(t, v, edToken(t, "2"), ErrInvalid)
		time.Sleep(requestInterval + requestInterval/5 - requestWait)
		n := i.requests()
		mustRefuse(t, v, edToken(t, "2"), ErrInvalid)
		if again := i.requests() - n; again != 1 {
			t.Errorf("%d requests, want 1", again)
		}
		if took := time.Since(asked); took < requestInterval {
			t.Errorf("the second fetch came after %v, want %v or more", took, requestInterval)
		}
	})
}

// A response that was in flight when the key was replaced is not final for tokens that came
// meanwhile.
func TestFetchUnderWayDoesNotJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := [][]byte{
			keySetJSON(t, jwk(edKey, fields{"kid": "1"})),
			keySetJSON(t, jwk(otherEdKey, fields{"kid": "2"})),
		}
		var hits atomic.Int64
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			body := bodies[min(hits.Add(1), 2)-1]
			time.Sleep(time.Second)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
		})}})
		for hits.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		mustVerify(t, v, rotated(t, "2"))
	})
}

// An attacker sends a stream of unknown keys.
func TestFloodOfUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const retry = 5 * time.Second
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		v := mustNew(t, Config{JWKSURL: keysURL, HTTPClient: i.client()})
		mustVerify(t, v, edToken(t, "1"))
		begun, before := time.Now(), i.requests()
		stop := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
					go func() { _, _ = v.Verify(t.Context(), edToken(t, fmt.Sprint("random ", n)), testHost) }()
				}
			}
		}()

		time.Sleep(time.Minute)
		i.set(keySetJSON(t, jwk(edKey, fields{"kid": "1"}), jwk(otherEdKey, fields{"kid": "2"})))
		rotation := time.Now()
		for {
			if _, err := v.Verify(t.Context(), rotated(t, "2"), testHost); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(rotation); took > requestInterval+requestInterval/5+2*time.Second {
			t.Errorf("the new key is known after %v", took)
		}
		// Tokens with a withdrawn key are refused in the end.
		for range 10 {
			tries := 0
			for {
				tries++
				_, err := v.Verify(t.Context(), edToken(t, "withdrawn"), testHost)
				if err != nil && err.Error() != ErrUnavailable.Error() {
					break
				}
				if tries == 100 {
					t.Fatal("no final answer after 100 attempts")
				}
				time.Sleep(retry)
			}
		}
		asked := time.Now()
		mustVerify(t, v, edToken(t, "1"))
		if took := time.Since(asked); took != 0 {
			t.Errorf("a known key took %v", took)
		}
		most := int(time.Since(begun)/requestInterval) + 1
		if n := i.requests() - before; n > most {
			t.Errorf("%d requests in %v, want at most %d", n, time.Since(begun), most)
		}
		close(stop)
		synctest.Wait()
		time.Sleep(maxWait)
	})
}

// Timers stop while a machine sleeps: a withdrawn key would stay in use for that long.
func TestRefreshByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(keySetJSON(t, jwk(edKey, fields{"kid": "1"})))
		r := newRemoteKeys(t.Context(), Config{HTTPClient: i.client()}, mustParse(t, keysURL), ofKind(false))
		var slept atomic.Int64
		r.wall = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		go r.run(t.Context())
		time.Sleep(time.Second)
		slept.Store(int64(8 * time.Hour))
		time.Sleep(wallInterval)
		synctest.Wait()
		if n := i.requests(); n != 2 {
			t.Errorf("%d requests after the sleep, want 2", n)
		}
		slept.Store(0) // set back
		time.Sleep(refreshInterval)
		synctest.Wait()
		if n := i.requests(); n != 3 {
			t.Errorf("%d requests an interval after the clock was set back, want 3", n)
		}
	})
}
