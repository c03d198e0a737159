package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// fresh is the pause after which an answer no longer comes from the cache, which keeps it for 100
// ms.
const fresh = 110 * time.Millisecond

// row is a query with the times of its answers.
type row struct {
	what  string
	goals [2]float64 // for p50 and p99, in ms; 0 for none
	ask   func(round int) error
	took  []time.Duration
}

// budget is the time limit for the rounds of a measurement.
const budget = 10 * time.Second

// measure sends each query once per round, so that a busy moment of the machine does not affect
// only one. It pauses before each query and calls begin before each round. The first rounds do not
// count.
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

// percentile returns the time within which percent of the answers came, in ms.
func (r *row) percentile(percent int) float64 {
	sorted := slices.Sorted(slices.Values(r.took))
	return float64(sorted[(len(sorted)*percent+99)/100-1].Microseconds()) / 1000
}

// check sends each measured query once, and checks the answer.
func (d *deployment) check(ctx context.Context) error {
	for i := range smallHosts {
		if err := d.users(ctx, smallHost(i), true, smallUsers*pods); err != nil {
			return err
		}
	}
	return d.users(ctx, largeHost(), true, largeUsers*pods)
}

// users queries the users of a host, of which all pods together have the wanted number.
func (d *deployment) users(ctx context.Context, host presence.HostName, members bool, want int) error {
	centers, truth := d.cluster.AllUsers(ctx, host, members, presence.PerUser)
	switch {
	case !truth.Complete:
		return fmt.Errorf("the answer is not complete, without %v", truth.Missing)
	case len(centers) != 1 || centers[0].Authenticated != want || centers[0].Anonymous != 0:
		return fmt.Errorf("%s has not the %d users of one data center", host, want)
	case members && len(centers[0].Users) != want:
		return fmt.Errorf("%s has %d users by name, not %d", host, len(centers[0].Users), want)
	}
	return nil
}
