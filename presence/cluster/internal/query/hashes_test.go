package query

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// crowded connects users to a host.
func crowded(t *testing.T, registry *presence.Registry, host presence.HostName, first, n int) (conns []*presence.Conn) {
	t.Helper()
	for i := range n {
		user := presence.User{ID: fmt.Sprint("user-", first+i)}
		c, err := registry.Connect(host, &presence.Rules{}, &user, clustertest.Outbox{})
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return conns
}

// Pods of many users count and list those that they have in common once.
func TestPodsOfManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, b := settled(t, n, "dc", "a"), settled(t, n, "dc", "b")
		host := testkit.MustHost(t, "example.com")
		const users, common = message.MaxHashes + 1000, 500
		crowded(t, a.responder.registry, host, 0, users)
		crowded(t, b.responder.registry, host, users-common, users)
		const distinct = 2*users - common
		wantText(t, a.count(t), fmt.Sprintf("dc %d+0; complete", distinct))
		dcs, truth := b.AllUsers(t.Context(), host, true, presence.PerUser)
		if !truth.Complete || len(dcs) != 1 || dcs[0].Authenticated != distinct || len(dcs[0].Users) != distinct {
			t.Errorf("%d users: %+v", dcs[0].Authenticated, truth)
		}
		for _, p := range []*testPod{a, b} {
			if got := p.responder.hashes.size; got != 0 {
				t.Errorf("%d hashes are kept", got)
			}
		}
	})
}

func TestKeptHashes(t *testing.T) {
	const users = message.MaxHashes + 1000
	for _, tc := range []struct {
		name string
		// meanwhile happens between the first part and the second, in which one user has left.
		meanwhile func(k *keptHashes)
		want      int
	}{
		{"kept", func(*keptHashes) {}, users},
		{"too late", func(*keptHashes) { time.Sleep(keepHashes + 1) }, users - 1},
		{"others need the room", func(k *keptHashes) {
			k.keep(keptKey{seed: 1}, make([]uint64, maxKept))
		}, users - 1},
		{"others have room", func(k *keptHashes) {
			k.keep(keptKey{seed: 1}, make([]uint64, maxKept-users))
		}, users},
		{"the longest unused goes first", func(k *keptHashes) {
			k.keep(keptKey{seed: 1}, make([]uint64, maxKept-2*users))
			time.Sleep(time.Millisecond)
			k.keep(keptKey{seed: 2}, make([]uint64, users))
			if k.take(keptKey{seed: 1}) == nil {
				panic("the second list is gone")
			}
			k.keep(keptKey{seed: 1}, make([]uint64, maxKept-users))
		}, users - 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := presence.NewRegistry(clustertest.Encoder{})
				host := testkit.MustHost(t, "example.com")
				conns := crowded(t, registry, host, 0, users)
				var k keptHashes
				q := &message.Query{Host: host, Seed: 7, Whole: true}
				first, more := k.part(link.Peer{}, q, registry.Pods())
				if len(first) != message.MaxHashes || !more {
					t.Fatalf("%d hashes, more: %v", len(first), more)
				}
				slices.MaxFunc(conns, func(a, b *presence.Conn) int {
					return cmp.Compare(hashOf(a, q.Seed), hashOf(b, q.Seed))
				}).Close()
				tc.meanwhile(&k)
				q.From = first[len(first)-1] + 1
				rest, more := k.part(link.Peer{}, q, registry.Pods())
				if got := len(first) + len(rest); got != tc.want || more {
					t.Errorf("%d hashes, want %d", got, tc.want)
				}
				time.Sleep(keepHashes + 1)
				synctest.Wait()
				if k.size != 0 || len(k.lists) != 0 {
					t.Errorf("%d hashes are kept in %d lists", k.size, len(k.lists))
				}
			})
		})
	}
}

func hashOf(c *presence.Conn, seed uint64) uint64 {
	user, _ := c.User()
	return sortedHashes(slices.Values([]string{user.ID}), 1, seed)[0]
}

func TestCountDistinct(t *testing.T) {
	for range 200 {
		var runs []run
		all := make(map[uint64]bool)
		for range rand.IntN(12) {
			hashes := make([]uint64, 1+rand.IntN(30))
			for i := range hashes {
				hashes[i] = rand.Uint64N(60)
				all[hashes[i]] = true
			}
			slices.Sort(hashes)
			hashes = slices.Compact(hashes)
			first := 1 + rand.IntN(len(hashes))
			rest := hashes[first:]
			runs = append(runs, run{hashes[:first], func() (part []uint64) {
				part = rest[:min(len(rest), 3)]
				rest = rest[len(part):]
				return part
			}})
		}
		if got := countDistinct(runs); got != len(all) {
			t.Fatalf("%d, want %d", got, len(all))
		}
	}
}
