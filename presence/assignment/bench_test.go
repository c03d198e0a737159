package assignment

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func BenchmarkMode(b *testing.B) {
	portal := mustHost(b, "portal.example.com")
	book, _ := openBook(b, b.TempDir(), 1, nil)
	fill(b, book, portal, 10_000, 4)
	for _, bb := range []struct{ name, user string }{{"assigned", "user-77"}, {"not assigned", "nobody"}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					book.Mode(portal, bb.user, "channel-2")
				}
			})
		})
	}
}

// BenchmarkAssign assigns one user in each request, with the given number of requests at the same
// time.
func BenchmarkAssign(b *testing.B) {
	portal := mustHost(b, "portal.example.com")
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d at once", parallel), func(b *testing.B) {
			book, _ := openBook(b, b.TempDir(), 1, nil)
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					assign(b, book, portal, wish(b, fmt.Sprintf("user-%d", i), "room"))
				}
			})
		})
	}
}

// BenchmarkMemory reports what an assignment keeps on the heap.
func BenchmarkMemory(b *testing.B) {
	const users = 100_000
	portal := mustHost(b, "portal.example.com")
	for _, channels := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d of a user", channels), func(b *testing.B) {
			dir := b.TempDir()
			book, f := openBook(b, dir, 1, nil)
			fill(b, book, portal, users, channels)
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				before := heapBytes()
				again, f := openBook(b, dir, 1, nil)
				b.ReportMetric(float64(heapBytes()-before)/(users*float64(channels)), "B/assignment")
				runtime.KeepAlive(again)
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func fill(tb testing.TB, book *Book, host presence.HostName, users, channels int) {
	tb.Helper()
	wishes := make([]Wish, users)
	for i := range wishes {
		wishes[i].User = fmt.Sprintf("user-%d", i)
		for j := range channels {
			wishes[i].Channels = append(wishes[i].Channels, Assignment{fmt.Sprintf("channel-%d", j), Listen})
		}
	}
	assign(tb, book, host, wishes...)
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC() // a second time, because of finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
