package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/server"
)

// gauge holds the resources that all pods use together.
type gauge struct {
	rss         int // bytes, as they are
	held        int // bytes, after a garbage collection
	goroutines  int
	descriptors int
}

func (g gauge) String() string {
	return fmt.Sprintf("%d MiB (%d MiB after a collection), %d goroutines, %d descriptors", g.rss>>20, g.held>>20, g.goroutines, g.descriptors)
}

// read reads the gauge of all pods.
func read(ctx context.Context, pods []*server.Process) (g gauge, err error) {
	for _, p := range pods {
		rss, err := p.RSS()
		if err != nil {
			return g, err
		}
		if err := p.Collect(ctx); err != nil {
			return g, err
		}
		held, err := p.RSS()
		if err != nil {
			return g, err
		}
		goroutines, err := countGoroutines(ctx, p)
		if err != nil {
			return g, err
		}
		descriptors, err := p.Descriptors()
		if err != nil {
			return g, err
		}
		g.rss += rss
		g.held += held
		g.goroutines += goroutines
		g.descriptors += descriptors
	}
	return g, nil
}

// countGoroutines asks Caddy's admin endpoint. The goroutines of the request itself are always
// included.
func countGoroutines(ctx context.Context, p *server.Process) (int, error) {
	body, err := request(ctx, http.MethodGet, p.Admin+"/debug/pprof/goroutine?debug=1", "")
	if err != nil {
		return 0, err
	}
	var n int
	if _, err := fmt.Fscanf(bytes.NewReader(body), "goroutine profile: total %d", &n); err != nil {
		return 0, fmt.Errorf("goroutines: %w", err)
	}
	return n, nil
}

// atLeast reads the gauge until it has not fallen for some time, and returns the lowest values. A
// few goroutines come and go by themselves, and those of a channel in a cluster stay for some
// seconds.
func atLeast(ctx context.Context, pods []*server.Process) (gauge, error) {
	const still = 5 * time.Second
	least, err := read(ctx, pods)
	for since := time.Now(); err == nil && time.Since(since) < still; {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return least, err
		}
		var now gauge
		now, err = read(ctx, pods)
		if now.goroutines < least.goroutines || now.descriptors < least.descriptors {
			since = time.Now()
		}
		least = gauge{
			min(least.rss, now.rss), min(least.held, now.held),
			min(least.goroutines, now.goroutines), min(least.descriptors, now.descriptors),
		}
	}
	return least, err
}

// backTo waits until there are no more goroutines and descriptors than before, and returns the
// gauge.
func backTo(ctx context.Context, pods []*server.Process, before gauge) (gauge, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		now, err := read(ctx, pods)
		if err != nil {
			return now, err
		}
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors {
			return now, nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return now, fmt.Errorf("after all: %s, before: %s", now, before)
		}
	}
}

// flat returns an error if memory has grown: it compares the last third of the minutes with the
// first. It skips the first minute, which fills caches.
func flat(held []int) error {
	const fewest, most = 6, 1.08
	if len(held) < fewest {
		return nil
	}
	held = held[1:]
	third := len(held) / 3
	middle := func(of []int) int { return slices.Sorted(slices.Values(of))[len(of)/2] }
	first, last := middle(held[:third+1]), middle(held[len(held)-third-1:])
	if float64(last) > most*float64(first) {
		return fmt.Errorf("memory has grown from %d to %d MiB", first>>20, last>>20)
	}
	return nil
}

// request makes a request on its own connection, so that none is left when descriptors are counted.
func request(ctx context.Context, method, url, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.300s", url, resp.Status, answer)
	}
	return answer, nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
