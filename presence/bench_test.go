package presence

import (
	"fmt"
	"runtime"
	"testing"
)

// fixed is an Encoder that always returns the same frame, so that only presence is measured.
type fixed struct{}

var fixedFrame = make([]byte, 100)

func (fixed) Members([]View, Fields) []byte             { return fixedFrame }
func (fixed) Joined(Joined) []byte                      { return fixedFrame }
func (fixed) Left(ref, channel string, r Reason) []byte { return fixedFrame }
func (fixed) Presence(Diff) []byte                      { return fixedFrame }
func (fixed) Message(string, Source, []byte) []byte     { return fixedFrame }

// AppendUser and AppendPrivate write about as many bytes as JSON takes.
func (fixed) AppendUser(b []byte, u *User, _ bool) []byte {
	return append(append(append(b, fixedFrame[:20]...), u.ID...), u.Email...)
}

func (e fixed) AppendPrivate(b []byte, id ID, u *User, _ bool) []byte {
	b = append(id.Append(b), ':')
	if u == nil {
		return append(b, '1')
	}
	return e.AppendUser(b, u, true)
}

// count is an Outbox that counts, without a lock: one host has one lock.
type count struct{ frames *int }

func (c count) Push([]byte) { *c.frames++ }

func (c count) Queue(_ []byte, n int) bool { *c.frames += n; return true }

func (c count) Flush() {}

// room returns a host with n connections, each of another user, in one channel.
func room(b *testing.B, n int, watch Watch) (*Registry, []*Conn, *int) {
	b.Helper()
	name, err := ParseHostName("portal.example.com")
	if err != nil {
		b.Fatal(err)
	}
	reg, frames := NewRegistry(fixed{}), new(int)
	conns := make([]*Conn, n)
	for i := range conns {
		user := &User{ID: fmt.Sprintf("user%d", i), Email: fmt.Sprintf("user%d@example.com", i)}
		c, err := reg.Connect(name, &Rules{}, user, count{frames})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Join("room", watch, ""); err != nil {
			b.Fatal(err)
		}
		conns[i] = c
	}
	h := reg.Host(name)
	h.mu.Lock()
	h.flush(h.channels["room"])
	*frames = 0
	h.mu.Unlock()
	return reg, conns, frames
}

func BenchmarkConnectJoinClose(b *testing.B) {
	reg, conns, _ := room(b, 1000, WatchNone)
	b.ReportAllocs()
	for b.Loop() {
		c, err := reg.Connect(conns[0].Host(), &Rules{}, &User{ID: "a"}, count{new(int)})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Join("room", WatchNone, ""); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, bb := range []struct {
		name     string
		others   int
		watchers Watch
	}{
		{"alone", 0, WatchNone},
		{"1000 others", 1000, WatchNone},
		{"10 watchers", 10, WatchList},
		{"10000 watchers", 10_000, WatchList}, // a busy channel, which is flushed with a delay
	} {
		b.Run(bb.name, func(b *testing.B) {
			_, conns, _ := room(b, bb.others+1, bb.watchers)
			c := conns[bb.others]
			if err := c.Leave("room", ""); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Join("room", WatchNone, ""); err != nil {
					b.Fatal(err)
				}
				if err := c.Leave("room", ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFanOut flushes a change to many watchers, each time and without waiting.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("%d watchers", n), func(b *testing.B) {
			_, conns, frames := room(b, n, WatchList)
			h := conns[0].host
			ch := h.channels["room"]
			h.mu.Lock()
			defer h.mu.Unlock()
			guest := h.userNamed("guest")
			*frames = 0
			there := false
			b.ReportAllocs()
			for b.Loop() {
				if there = !there; there {
					h.addConn(ch, guest)
				} else {
					h.removeConn(ch, guest, false)
				}
				h.flush(ch)
			}
			if *frames != n*b.N {
				b.Fatalf("%d frames, want %d to each of %d watchers", *frames, b.N, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(*frames), "ns/frame")
		})
	}
}

func BenchmarkListing(b *testing.B) {
	const n = 100_000
	_, conns, _ := room(b, n, WatchNone)
	h := conns[0].host
	encoded := func() int {
		if e := h.Encoded(); len(e.Private) != len(e.Channels[0].Users) {
			return -1
		}
		return n
	}
	for _, bb := range []struct {
		name string
		list func() int
	}{
		{"Channel", func() int { l, _ := h.Channel("room", PerUser); return len(l.Users) }},
		{"Channel raw", func() int { l, _ := h.Channel("room", PerConnection); return len(l.Users) }},
		{"Channels", func() int { return len(h.Channels(PerUser)) - 1 }}, // each connection has a private channel
		{"Users", func() int { users, _ := h.Users(PerUser); return len(users) }},
		{"Encoded", encoded},
		{"Encoded when all has changed", func() int {
			h.mu.Lock()
			h.cache.private.invalidateAll()
			h.channels["room"].chunks.invalidateAll()
			h.mu.Unlock()
			return encoded()
		}},
		{"Stats", func() int { return h.Stats().Users }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := bb.list(); got != n {
					b.Fatalf("%d entries, want %d", got, n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
		})
	}
}

// BenchmarkMemory reports what a connection keeps on the heap, including the user's ID and e-mail
// address.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for _, bb := range []struct {
		name  string
		watch Watch
		info  bool
	}{{"not watching", WatchNone, false}, {"watching", WatchList, false}, {"info of 200 bytes", WatchNone, true}} {
		b.Run(bb.name, func(b *testing.B) {
			var bytes uint64
			for b.Loop() {
				before := heapBytes()
				reg, conns, _ := room(b, n, bb.watch)
				for _, c := range conns {
					u, _ := c.User()
					if !bb.info {
						break
					}
					u.Info = fmt.Sprintf(`{"name":"%-189s"}`, u.ID)
					if err := c.Authenticate(u, nil); err != nil {
						b.Fatal(err)
					}
				}
				bytes += heapBytes() - before - n*8 // the benchmark itself owns the list of connections
				runtime.KeepAlive(reg)
				runtime.KeepAlive(conns)
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/n, "B/conn")
			b.ReportMetric(0, "ns/op") // not meaningful here
		})
	}
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC() // a second time, because of finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSend sends messages of 100 bytes to many listeners, from one goroutine, as fast as they
// are accepted.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprintf("%d listeners", n), func(b *testing.B) {
			_, conns, frames := room(b, n, WatchNone)
			to, message := []string{"room"}, make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				for conns[0].Send(to, message) != nil {
					runtime.Gosched()
				}
			}
			h := conns[0].host
			for busy := true; busy; runtime.Gosched() {
				h.mu.Lock()
				busy = h.channels["room"].outgoing != nil
				h.mu.Unlock()
			}
			if *frames != n*b.N {
				b.Fatalf("%d messages, want %d to each of %d listeners", *frames, b.N, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(*frames), "ns/delivered")
		})
	}
}

// BenchmarkGrantedJoin joins a channel that the last of 100 patterns of a token grants, and one
// that needs no grant. The difference is to be at most 5 us.
func BenchmarkGrantedJoin(b *testing.B) {
	var patterns []string
	for i := range 100 {
		patterns = append(patterns, fmt.Sprintf("team-%02d-*", i))
	}
	for _, granted := range []bool{false, true} {
		b.Run(fmt.Sprintf("granted=%t", granted), func(b *testing.B) {
			rules := new(Rules)
			if granted {
				rules.Classifier = Patterns{Granted: []string{"team-*"}}
			}
			reg := NewRegistry(fixed{})
			name, err := ParseHostName("portal.example.com")
			if err != nil {
				b.Fatal(err)
			}
			c, err := reg.Connect(name, rules, &User{ID: "a"}, count{new(int)})
			if err != nil {
				b.Fatal(err)
			}
			c.SetGrants(grantsOf(MayAll, patterns...))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Join("team-99-standup", WatchNone, ""); err != nil {
					b.Fatal(err)
				}
				if err := c.Leave("team-99-standup", ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
