package main

import (
	"context"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Sizes in the reply of one pod, in bytes, for plain replies of the same size.
const (
	userBytes = 100 // with its name
	hashBytes = 8   // to count it
)

// small measures queries about a host with a few users on each pod.
func (d *deployment) small(ctx context.Context, heading, text string, rounds int) error {
	progress("a host of 200 users")
	var (
		lap  time.Time
		host presence.HostName
	)
	// A host is queried again after all others, and not before its answer has left the cache.
	begin := func(round int) {
		if round%smallHosts == 0 {
			time.Sleep(time.Until(lap.Add(fresh)))
			lap = time.Now()
		}
		host = smallHost(round % smallHosts)
	}
	const size = smallUsers * userBytes
	rows := []*row{
		{what: "plain NATS: one pod, reply of 2 KB", ask: func(round int) error {
			return d.plain.one(1+round%(pods-1), size)
		}},
		{what: "plain NATS: nine pods, replies of 2 KB", ask: func(int) error { return d.plain.all(size) }},
		{what: "allusers: counts", goals: goals, ask: func(int) error { return d.users(ctx, host, false, smallUsers*pods) }},
		{what: "allusers: users, replies of 2 KB", goals: goals, ask: func(int) error { return d.users(ctx, host, true, smallUsers*pods) }},
		{what: "the same, cached", ask: func(int) error { return d.users(ctx, host, true, smallUsers*pods) }},
	}
	if err := measure(ctx, rounds, 0, begin, rows); err != nil {
		return err
	}
	printTable(heading, text, rows)
	return nil
}

// goals are the limits for /message/allusers over ten pods on loopback, in ms.
var goals = [2]float64{1, 5}

// large measures queries about a host with very many users on each pod.
func (d *deployment) large(ctx context.Context, rounds int) error {
	progress("a host of 100,000 users")
	const hashes, names = largeUsers * hashBytes, largeUsers * userBytes
	begin := func(int) {} // a pause is as long as an answer is cached
	counts := []*row{
		{what: "plain NATS: nine pods, replies of 80 KB", ask: func(int) error { return d.plain.all(hashes) }},
		{what: "allusers: counts", ask: func(int) error { return d.users(ctx, largeHost(), false, largeUsers*pods) }},
	}
	if err := measure(ctx, rounds, fresh/2, begin, counts); err != nil {
		return err
	}
	members := []*row{
		{what: "plain NATS: nine pods, replies of 1 MB", ask: func(int) error { return d.plain.all(names) }},
		{what: "allusers: users", ask: func(int) error { return d.users(ctx, largeHost(), true, largeUsers*pods) }},
	}
	if err := measure(ctx, max(rounds/2, 1), fresh/2, begin, members); err != nil {
		return err
	}
	printTable("A host of 100,000 users", "Each pod has 10,000 of the users. A count compares hashes of their ids.", slices.Concat(counts, members))
	return nil
}
