package token

import (
	"context"
	"errors"
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

	// askInterval is the least time between two fetches that tokens with an unknown key id bring about. Anyone can
	// send such tokens.
	askInterval = 30 * time.Second

	// maxWait bounds how long one Verify waits for keys.
	maxWait = 5 * time.Second
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

	set atomic.Pointer[keySet] // the last good keys; nil before there were any

	mu       sync.Mutex
	underway chan struct{} // guarded by mu; closed when the fetch that is wanted or under way ends; nil without one
	failed   bool          // guarded by mu; whether the last fetch did
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
		timer := time.NewTimer(next - rand.N(next/5)) //nolint:gosec // a guess at it is worth nothing
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
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

// begin notes that a fetch is under way, and returns whether the one before failed.
func (r *remoteKeys) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	if err == nil {
		r.set.Store(set)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err != nil
	close(r.underway)
	r.underway = nil
}

// find returns the keys that t may be verified with.
func (r *remoteKeys) find(ctx context.Context, t *jwt.Token) (any, error) {
	if set := r.set.Load(); set != nil {
		if key, err := set.find(ctx, t); !errors.Is(err, errUnknownKey) {
			return key, err
		}
	}

	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if r.set.Load() == nil {
		r.wait(ctx, r.current())
	}
	set := r.set.Load()
	if set == nil {
		return nil, ErrUnavailable
	}
	key, err := set.find(ctx, t)
	if !errors.Is(err, errUnknownKey) {
		return key, err
	}

	// The issuer may have a new key since the last fetch.
	r.wait(ctx, r.ask())
	key, err = r.set.Load().find(ctx, t)
	if errors.Is(err, errUnknownKey) && !r.fresh() {
		return nil, ErrUnavailable
	}
	return key, err
}

// inherit takes the keys of another source over, if they are of the same URL and algorithms and none came yet.
func (r *remoteKeys) inherit(from *remoteKeys) {
	if r.url == from.url && joinNames(r.allowed) == joinNames(from.allowed) {
		r.set.CompareAndSwap(nil, from.set.Load())
	}
}

// current returns the end of the fetch that is under way, or nil.
func (r *remoteKeys) current() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.underway
}

// ask returns the end of the fetch that is under way, or of one that it asks for, or nil when it is too early for
// another.
func (r *remoteKeys) ask() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underway != nil {
		return r.underway
	}
	now := time.Now()
	if now.Before(r.askAfter) {
		return nil
	}
	r.askAfter = now.Add(askInterval)
	r.underway = make(chan struct{})
	r.wake <- struct{}{} // there is room: only this line fills it, and begin empties it before underway is nil again
	return r.underway
}

// fresh reports whether the keys are those of the last fetch that was wanted.
func (r *remoteKeys) fresh() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.underway == nil && !r.failed
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
