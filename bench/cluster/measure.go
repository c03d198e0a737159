package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// fresh is after how long an answer no longer comes from the cache, which keeps it for 100 ms.
const fresh = 110 * time.Millisecond

// row is a question, and how long its answers took.
type row struct {
	what  string
	goals [2]float64 // for p50 and p99, in ms; 0: none
	ask   func(round int) error
	took  []time.Duration
}

// budget is after how long the rounds of a measurement end, however many there should be.
const budget = 10 * time.Second

// measure puts each question once in each round, so that a busy moment of the machine does not meet one of them alone.
// There is a pause before each, begin is called before each round, and the first rounds do not count.
func measure(ctx context.Context, rounds int, pause time.Duration, begin func(round int), rows []*row) error {
	warm := max(rounds/20, 2)
	end := time.Now().Add(budget)
	for round := range warm + rounds {
		if round > warm && time.Now().After(end) {
			break
		}
		begin(round)
		for _, r := range rows {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", r.what, ctx.Err())
			case <-time.After(pause):
			}
			start := time.Now()
			err := r.ask(round)
			took := time.Since(start)
			if err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
			if round >= warm {
				r.took = append(r.took, took)
			}
		}
	}
	return nil
}

// percentile returns the time within which so many percent of the answers came, in ms.
func (r *row) percentile(percent int) float64 {
	sorted := slices.Sorted(slices.Values(r.took))
	return float64(sorted[(len(sorted)*percent+99)/100-1].Microseconds()) / 1000
}

// check asks once for everything that is measured, and compares.
func (d *deployment) check(ctx context.Context) error {
	for i := range smallHosts {
		if err := d.users(ctx, smallHost(i), true, smallUsers); err != nil {
			return err
		}
	}
	return d.users(ctx, largeHost(), true, largeUsers)
}

// users asks for the users of a host, of whom every pod has as many.
func (d *deployment) users(ctx context.Context, host presence.HostName, members bool, each int) error {
	centers, truth := d.cluster.AllUsers(ctx, host, members, presence.PerUser)
	switch {
	case !truth.Complete:
		return fmt.Errorf("the answer is not complete, without %v", truth.Missing)
	case len(centers) != 1 || centers[0].Authenticated != each*pods || centers[0].Anonymous != 0:
		return fmt.Errorf("%s has not the %d users of one data center", host, each*pods)
	case members && len(centers[0].Users) != each*pods:
		return fmt.Errorf("%s has %d users by name, not %d", host, len(centers[0].Users), each*pods)
	}
	return nil
}
