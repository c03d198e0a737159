package events

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// counter is a Sink and Epochs that count.
type counter struct{ events int }

func (c *counter) Put(list []Event) bool { c.events += len(list); return false }

func (c *counter) Name(_ presence.HostName, users []presence.User) []string {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = `{"id":"` + u.ID + `","email":"` + u.Email + `"}`
	}
	return names
}

func (*counter) SetEpoch(presence.HostName, uint8, uint64) ([]assignment.Record, error) {
	return nil, nil
}
func (*counter) Epochs(presence.HostName) (e [Shards]uint64) { return e }
func (*counter) EpochHosts(func(presence.HostName))          {}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOwner measures the memory of the owner for each member, and its time for one that comes.
func BenchmarkOwner(b *testing.B) {
	const members = 100_000
	name, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sink := new(counter)
		s := New(Config{
			Registry: presence.NewRegistry(silent{}), Sink: sink, Epochs: sink, Logger: zap.NewNop(),
			Wanted: func(presence.HostName) Wanted { return Wanted{On: true} },
		})
		h := &host{name: name, wanted: Wanted{On: true}}
		sh := newShard(h, 0)
		sh.owned, sh.phase = true, speaking
		src := &source{shard: sh}
		before, began := heapBytes(), time.Now()
		for i := range members {
			part := &presence.TapPart{Changes: []presence.TapChange{{
				Channel: "room", Class: presence.Class{Kind: presence.Authenticated}, Conns: i + 1,
				Came: []presence.Member{{User: presence.User{ID: fmt.Sprintf("user-%06d", i), Email: fmt.Sprintf("user-%06d@example.com", i)}, Seen: 1}},
			}}}
			s.mu.Lock()
			sh.merge(src, part, s.now())
			batch, t := sh.reconcile(maxBatch, s.now()), s.turnOf(sh)
			s.mu.Unlock()
			s.tell(t, batch)
		}
		took := time.Since(began)
		b.ReportMetric(float64(heapBytes()-before)/members, "B/member")
		b.ReportMetric(float64(took.Nanoseconds())/members, "ns/member")
		if sink.events != members+1 {
			b.Fatalf("%d events", sink.events)
		}
		runtime.KeepAlive(sh)
		s.Close()
	}
}
