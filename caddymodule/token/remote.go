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
	// refreshInterval is the time between two fetches of a key set, and so the longest time that a withdrawn key
	// stays accepted.
	refreshInterval = 15 * time.Minute

	// After a fetch that failed the next one follows sooner: after firstRetry, then twice as long each time up to
	// lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute

	// askInterval is the least time between two fetches for tokens with an unknown key, which anyone can send. Up to
	// a fifth is added at random: clients that retry at a fixed interval do not stay out of step with the fetches.
	askInterval = 10 * time.Second

	// maxWait bounds how long one Verify waits for keys.
	maxWait = 5 * time.Second

	// askWait bounds how long one Verify waits until it may ask for a fetch. The rest of maxWait is for the fetch.
	askWait = 3 * time.Second

	// wallInterval is how often the wall clock is compared while the next fetch is not due: timers stand still while
	// the machine sleeps.
	wallInterval = 30 * time.Second
)

// remoteKeys are the keys of a JSON Web Key Set at a URL. One goroutine, run, fetches them; find only reads, and
// waits.
type remoteKeys struct {
	url     string
	client  *http.Client
	allowed []algorithm
	logger  func(msg string, err error)
	stopped <-chan struct{} // closed when run is to end
	wake    chan struct{}   // holds at most one request for a fetch
	wall    func() time.Time

	set atomic.Pointer[keySet] // the last good keys; nil before there were any

	mu       sync.Mutex
	underway chan struct{} // guarded by mu; closed when the fetch that is wanted or under way ends; nil without one
	begun    uint64        // guarded by mu; number of the last fetch
	good     uint64        // guarded by mu; number of the last fetch that brought keys
	failed   bool          // guarded by mu; the last fetch failed
	askAfter time.Time     // guarded by mu; when find may ask for a fetch again
}

// newRemoteKeys returns keys whose first fetch counts as under way, although it begins with run.
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

// run fetches the key set at once, at intervals, and when asked to, until ctx is done.
func (r *remoteKeys) run(ctx context.Context) {
	retry := firstRetry
	for {
		wasFailed := r.begin()
		set, err := r.fetch(ctx)
		r.end(set, err)
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
		if !r.pause(ctx, next-rand.N(next/5)) { //nolint:gosec // a guess at it is worth nothing
			return
		}
	}
}

// pause returns when d is over, by the timers or by the wall clock, or when a fetch is asked for. It reports whether
// run continues.
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

// report tells the logger how a fetch ended, and of good ones only the first after one that failed.
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

// begin records that a fetch is under way, and reports whether the one before failed.
func (r *remoteKeys) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	if r.underway == nil {
		r.underway = make(chan struct{})
	}
	// This fetch answers a request that came while the timer fired.
	select {
	case <-r.wake:
	default:
	}
	return r.failed
}

// end publishes what a fetch brought and wakes those who wait for it.
func (r *remoteKeys) end(set *keySet, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err != nil
	if err == nil {
		r.set.Store(set)
		r.good = r.begun
	}
	close(r.underway)
	r.underway = nil
}

// find returns the keys that t may be verified with.
//
// A token with an unknown key is judged by a fetch that began after the token came. Until there is one the error is
// ErrUnavailable, because the issuer may have a new key. Nothing is remembered of tokens: an attacker with many unknown
// keys delays others with an unknown key, and nobody else. A token that comes within askWait of the next fetch waits for
// it, so that a client that retries is judged after a few attempts whatever else is sent.
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
	key, err := r.judge(ctx, t, seen)
	if !errors.Is(err, errUnjudged) {
		return key, err
	}
	r.wait(ctx, r.ask(ctx, seen))
	return r.judge(ctx, t, seen)
}

// errUnjudged is returned for a token whose key is unknown, as far as the keys are known.
var errUnjudged = fmt.Errorf("%w: the key may be newer", ErrUnavailable)

// judge returns the keys for t. It returns errUnknownKey if a fetch that began after that number has none, errUnjudged
// if there was no such fetch, and ErrUnavailable without any keys.
func (r *remoteKeys) judge(ctx context.Context, t *jwt.Token, after uint64) (any, error) {
	r.mu.Lock()
	set, good := r.set.Load(), r.good
	r.mu.Unlock()
	if set == nil {
		return nil, ErrUnavailable
	}
	key, err := set.find(ctx, t)
	if errors.Is(err, errUnknownKey) && good <= after {
		return nil, errUnjudged
	}
	return key, err
}

// inherit takes the keys of another source over, if they are of the same URL and algorithms and none came yet.
func (r *remoteKeys) inherit(from *remoteKeys) {
	if r.url == from.url && joinNames(r.allowed) == joinNames(from.allowed) {
		r.set.CompareAndSwap(nil, from.set.Load())
	}
}

// current returns the number of the last fetch, and the end of the one that is under way or wanted, or nil.
func (r *remoteKeys) current() (begun uint64, end <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun, r.underway
}

// ask returns the end of a fetch that is under way or wanted, or of one that it asks for. If it is too early for that,
// it waits until then. It returns nil when that is too long, when a fetch after that number has brought keys already, and
// when fetches fail.
func (r *remoteKeys) ask(ctx context.Context, after uint64) <-chan struct{} {
	r.mu.Lock()
	early := time.Until(r.askAfter)
	if r.underway == nil && early > 0 {
		failed := r.failed // the next fetch comes by itself
		r.mu.Unlock()
		if failed || early > askWait || !r.sleep(ctx, early) {
			return nil
		}
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if r.underway != nil || r.good > after || time.Now().Before(r.askAfter) {
		return r.underway
	}
	r.askAfter = time.Now().Add(askInterval + rand.N(askInterval/5)) //nolint:gosec // a guess at it is worth nothing
	r.underway = make(chan struct{})
	r.wake <- struct{}{} // there is room: only this line fills it, and begin empties it before underway is nil again
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

// wait returns when end is closed, at once if it is nil, or when ctx or run ends.
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
