package presence

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkWatchedMemory reports what a channel with a watcher keeps on the heap: with the
// watcher's own user, and with users that other pods have, each in this channel alone.
func BenchmarkWatchedMemory(b *testing.B) {
	for _, bb := range []struct {
		name                  string
		channels, pods, users int
	}{
		{"no parts", 10_000, 0, 0},
		{"an empty part", 10_000, 1, 0},
		{"1 user on 1 pod", 10_000, 1, 1},
		{"10 users on 1 pod", 2000, 1, 10},
		{"1000 users on 1 pod", 50, 1, 1000},
		{"1 user on 3 pods", 10_000, 3, 1},
		{"10 users on 3 pods", 2000, 3, 10},
		{"1000 users on 3 pods", 50, 3, 1000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var bytes uint64
			for b.Loop() {
				before := heapBytes()
				reg := watchedChannels(b, bb.channels)
				for i := range bb.channels {
					mergeParts(b, reg, i, bb.pods, bb.users)
				}
				bytes += heapBytes() - before
				runtime.KeepAlive(reg)
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/float64(bb.channels), "B/channel")
			b.ReportMetric(0, "ns/op") // not meaningful here
		})
	}
}

// BenchmarkMerge merges a user who comes to another pod, and one who leaves it.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{0, 1, 10, 1000} {
		b.Run(fmt.Sprintf("%d others", n), func(b *testing.B) {
			reg := watchedChannels(b, 1)
			d := usersOf(0, 0, n)
			guest := usersOf(0, 1, 1).Joined
			name, clock := reg.Hosts()[0].Name(), d.Clock
			if result := reg.Pods().MergeDelta(name, "room-0", "pod-0", d); result != Merged {
				b.Fatal(result)
			}
			b.ReportAllocs()
			for b.Loop() {
				came := Delta{Clock: clock + 1, Base: clock, Joined: guest, Conns: n + 1}
				left := Delta{Clock: clock + 2, Base: clock + 1, Left: []Departure{{ID: guest[0].ID}}, Conns: n}
				clock += 2
				for _, d := range []Delta{came, left} {
					if result := reg.Pods().MergeDelta(name, "room-0", "pod-0", d); result != Merged {
						b.Fatal(result)
					}
				}
			}
		})
	}
}

// BenchmarkMergeWhole merges the whole part of a pod, and then that it is empty.
func BenchmarkMergeWhole(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("%d users", n), func(b *testing.B) {
			reg := watchedChannels(b, 1)
			name, d := reg.Hosts()[0].Name(), usersOf(0, 0, n)
			b.ReportAllocs()
			for b.Loop() {
				for _, part := range []Delta{d, {}} {
					d.Clock++
					part.Clock = d.Clock
					if result := reg.Pods().MergeDelta(name, "room-0", "pod-0", part); result != Merged {
						b.Fatal(result)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/user")
		})
	}
}

// watchedChannels returns a host with a relay and n channels, which have one watcher each.
func watchedChannels(b *testing.B, n int) *Registry {
	b.Helper()
	name, err := ParseHostName("portal.example.com")
	if err != nil {
		b.Fatal(err)
	}
	reg := NewRegistry(fixed{})
	reg.Pods().SetRelay(quiet{})
	var c *Conn
	for i := range n {
		if i%100 == 0 {
			user := &User{ID: fmt.Sprintf("watcher%d", i), Email: fmt.Sprintf("watcher%d@example.com", i)}
			if c, err = reg.Connect(name, &Rules{}, user, count{new(int)}); err != nil {
				b.Fatal(err)
			}
		}
		channel := fmt.Sprintf("room-%d", i)
		if err := c.Join(channel, WatchList, ""); err != nil {
			b.Fatal(err)
		}
		reg.Pods().Ready(name, channel)
		reg.Pods().Changes(name, channel)
	}
	return reg
}

// mergeParts merges a part for each of the pods, with that many users each.
func mergeParts(b *testing.B, reg *Registry, channel, pods, users int) {
	b.Helper()
	for pod := range pods {
		name, d := fmt.Sprintf("room-%d", channel), usersOf(channel, pod, users)
		if result := reg.Pods().MergeDelta(reg.Hosts()[0].Name(), name, fmt.Sprintf("pod-%d", pod), d); result != Merged {
			b.Fatalf("merge: %v", result)
		}
	}
}

// usersOf returns a part with n users, whose IDs of 11 bytes and e-mail addresses of 23 bytes are
// in one string with the name of the channel, like texts that are decoded from a payload.
func usersOf(channel, pod, n int) Delta {
	var text strings.Builder
	from, _ := fmt.Fprintf(&text, "portal.example.com room-%d ", channel)
	for i := range n {
		id := fmt.Sprintf("%05d-%05d", channel, pod*10_000+i)
		text.WriteString(id + id + "@example.com")
	}
	d := Delta{Clock: 1, Conns: n, Joined: make([]Member, n)}
	for i, rest := 0, text.String()[from:]; i < n; i, rest = i+1, rest[34:] {
		d.Joined[i] = Member{User: User{ID: rest[:11], Email: rest[11:34]}, Seen: 1}
	}
	return d
}
