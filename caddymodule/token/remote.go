package token

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// refreshInterval is the time between two fetches of a key set, and so the longest time that a
	// withdrawn key is still accepted.
	refreshInterval = 15 * time.Minute

	// A failed fetch is retried after firstRetry, then after twice the previous time, up to
	// lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute

	// requestInterval is the minimum time between two fetches for tokens with an unknown key, which
	// anyone can send. Up to a fifth is added at random, so that clients that retry at a fixed
	// interval do not always miss the fetch.
	requestInterval = 10 * time.Second

	// maxWait is the maximum time that one Verify waits for keys.
	maxWait = 5 * time.Second

	// requestWait is the maximum time that one Verify waits until it may request a fetch. The rest
	// of maxWait is for the fetch.
	requestWait = 3 * time.Second

	// wallInterval is how often the wall clock is checked until the next fetch is due: timers stop
	// while the machine sleeps.
	wallInterval = 30 * time.Second
)

// remoteKeys are the keys of a JSON Web Key Set at a URL. One goroutine, run, fetches them; find
// only reads and waits.
type remoteKeys struct {
	url     string
	client  *http.Client
	allowed []algorithm
	logger  func(msg string, err error)
	stopped <-chan struct{} // closed when run must end
	wake    chan struct{}   // holds at most one request for a fetch
	wall    func() time.Time

	set atomic.Pointer[keySet] // last good keys; nil before the first

	mu           sync.Mutex
	underway     chan struct{} // guarded by mu; closed when the requested or running fetch ends; nil if none
	started      uint64        // guarded by mu; number of the last fetch
	lastGood     uint64        // guarded by mu; number of the last fetch that returned keys
	failed       bool          // guarded by mu; the last fetch failed
	requestAfter time.Time     // guarded by mu; when find may request a fetch again
}

// newRemoteKeys returns keys with the first fetch marked as running, although it starts with run.
func newRemoteKeys(ctx context.Context, c Config, u *url.URL, allowed []algorithm) *remoteKeys {
	return &remoteKeys{
		url:      u.String(),
		client:   newKeySetClient(c.HTTPClient),
		allowed:  allowed,
		logger:   newKeySetLogger(c, u),
		stopped:  ctx.Done(),
		wake:     make(chan struct{}, 1),
		wall:     time.Now,
		underway: make(chan struct{}),
	}
}

// run fetches the key set at once, at intervals, and on request, until ctx is done.
func (r *remoteKeys) run(ctx context.Context) {
	retry := firstRetry
	for {
		wasFailed := r.startFetch()
		set, err := r.fetch(ctx)
		r.endFetch(set, err)
		if ctx.Err() != nil {
			return
		}

		next := refreshInterval
		if err == nil {
			retry = firstRetry
		} else {
			next, retry = retry, min(2*retry, lastRetry)
		}
		r.report(err, wasFailed)

		// Up to a fifth earlier, because many sites with one issuer start together.
		if !r.pause(ctx, next-rand.N(next/5)) { //nolint:gosec // predicting it is of no use
			return
		}
	}
}

// pause returns when d has passed, by the timers or by the wall clock, or when a fetch is
// requested. It reports whether run continues.
func (r *remoteKeys) pause(ctx context.Context, d time.Duration) bool {
	due := r.wall().Round(0).Add(d)
	for d > 0 {
		step := min(d, wallInterval)
		timer := time.NewTimer(step)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-r.wake:
			timer.Stop()
			return true
		case <-timer.C:
		}
		d = min(d-step, due.Sub(r.wall().Round(0)))
	}
	return true
}

// report logs each failed fetch, and the first good one after a failure.
func (r *remoteKeys) report(err error, wasFailed bool) {
	switch {
	case err == nil && wasFailed:
		r.logger("key set fetched again", nil)
	case err == nil:
	case r.set.Load() == nil:
		r.logger("key set not fetched, no token can be verified", err)
	default:
		r.logger("key set not fetched, the last good keys stay in use", err)
	}
}

// startFetch records that a fetch is running, and reports whether the previous one failed.
func (r *remoteKeys) startFetch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started++
	if r.underway == nil {
		r.underway = make(chan struct{})
	}
	// This fetch serves a request that came while the timer fired.
	select {
	case <-r.wake:
	default:
	}
	return r.failed
}

// endFetch stores the result of a fetch and wakes the calls that wait for it.
func (r *remoteKeys) endFetch(set *keySet, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err != nil
	if err == nil {
		r.set.Store(set)
		r.lastGood = r.started
	}
	close(r.underway)
	r.underway = nil
}

// find returns the keys that may verify t.
//
// A token with an unknown key is refused only after a fetch that started after the token came.
// Until then the error is ErrUnavailable, because the issuer may have a new key. Nothing is
// remembered about tokens: an attacker with many unknown keys delays only other tokens with unknown
// keys. A token that comes within requestWait of the next fetch waits for it, so that a client that
// retries gets a final answer after a few attempts, whatever else is sent.
func (r *remoteKeys) find(ctx context.Context, t *jwt.Token) (any, error) {
	if set := r.set.Load(); set != nil {
		if key, err := set.find(ctx, t); !errors.Is(err, errUnknownKey) {
			return key, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	seen, underway := r.current()
	r.wait(ctx, underway)
	key, err := r.findAfter(ctx, t, seen)
	if !errors.Is(err, errKeyMayBeNewer) {
		return key, err
	}
	r.wait(ctx, r.requestFetch(ctx, seen))
	return r.findAfter(ctx, t, seen)
}

// errKeyMayBeNewer is returned for a token whose key is not in the set, but may be newer.
var errKeyMayBeNewer = fmt.Errorf("%w: the key may be newer", ErrUnavailable)

// findAfter returns the keys for t. If a fetch with a number above after has none, it returns
// errUnknownKey; if there was no such fetch, errKeyMayBeNewer; if there are no keys at all,
// ErrUnavailable.
func (r *remoteKeys) findAfter(ctx context.Context, t *jwt.Token, after uint64) (any, error) {
	r.mu.Lock()
	set, good := r.set.Load(), r.lastGood
	r.mu.Unlock()
	if set == nil {
		return nil, ErrUnavailable
	}
	key, err := set.find(ctx, t)
	if errors.Is(err, errUnknownKey) && good <= after {
		return nil, errKeyMayBeNewer
	}
	return key, err
}

// inherit copies the keys of another source, if URL and algorithms are the same and r has no keys
// yet.
func (r *remoteKeys) inherit(from *remoteKeys) {
	if r.url == from.url && joinNames(r.allowed) == joinNames(from.allowed) {
		r.set.CompareAndSwap(nil, from.set.Load())
	}
}

// current returns the number of the last fetch, and a channel that is closed when the requested or
// running fetch ends; nil if there is none.
func (r *remoteKeys) current() (started uint64, end <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started, r.underway
}

// requestFetch returns a channel that is closed when a fetch ends: the requested or running one, or
// one that it requests. If it is too early for a request, it waits. It returns nil if that would
// take too long, if a fetch with a number above after has returned keys, or if fetches fail.
func (r *remoteKeys) requestFetch(ctx context.Context, after uint64) <-chan struct{} {
	r.mu.Lock()
	early := time.Until(r.requestAfter)
	if r.underway == nil && early > 0 {
		failed := r.failed // a retry is already scheduled
		r.mu.Unlock()
		if failed || early > requestWait || !r.sleep(ctx, early) {
			return nil
		}
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if r.underway != nil || r.lastGood > after || time.Now().Before(r.requestAfter) {
		return r.underway
	}
	r.requestAfter = time.Now().Add(requestInterval + rand.N(requestInterval/5)) //nolint:gosec // predicting it is of no use
	r.underway = make(chan struct{})
	r.wake <- struct{}{} // never blocks: only this line fills it, and startFetch empties it before underway is nil again
	return r.underway
}

// sleep reports whether d passed before ctx or run ended.
func (r *remoteKeys) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-r.stopped:
	}
	return false
}

// wait returns when end is closed, or when ctx or run ends; at once if end is nil.
func (r *remoteKeys) wait(ctx context.Context, end <-chan struct{}) {
	if end == nil {
		return
	}
	select {
	case <-end:
	case <-ctx.Done():
	case <-r.stopped:
	}
}
