package cluster

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// A pod that was down knows what was revoked meanwhile before it is ready, though the clocks of the
// others are hours apart. So does a pod without its disk.
func TestRevocationsAreKnownBeforeAPodIsReady(t *testing.T) {
	const apart = 3 * time.Hour
	for name, clocks := range map[string][]time.Duration{
		"clocks are right": {0, 0, 0}, "the revoking pod is behind": {0, -apart, 0}, "the revoking pod is ahead": {0, apart, 0},
		"another pod is ahead": {apart, -apart, 0},
	} {
		for _, empty := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, an empty disk: %v", name, empty), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, pods := keepersOf(t, 1, "us", "us", "eu")
					for i, p := range pods {
						p.clock = clocks[i]
						p.start()
					}
					time.Sleep(5 * time.Second)
					by, down := pods[1], pods[2]
					host := by.serves[0]
					down.run.end(true)
					down.run = nil
					if empty {
						clear(down.disk.records)
					}
					revoked := time.Now()
					records, err := by.run.book.Revoke(host, []string{"ada"}, 0, time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					by.run.Spread(context.Background(), host, records)
					time.Sleep(10 * time.Minute)
					down.start()
					for !down.run.Ready() {
						time.Sleep(time.Millisecond)
					}
					old, fresh := revoked.Unix(), time.Now().Add(assignment.Skew+time.Second).Unix()
					since, ok := down.run.book.Revoked(host, "ada", old)
					if !ok || (since-10*time.Minute).Abs() > 10*time.Second {
						t.Errorf("an old token: revoked %v, made %s ago", ok, since)
					}
					if _, ok := down.run.book.Revoked(host, "ada", fresh); ok {
						t.Error("a newer token is revoked")
					}
					if _, ok := down.run.book.Revoked(host, "ada", 0); !ok {
						t.Error("a token without a time is not revoked")
					}
				})
			})
		}
	}
}
