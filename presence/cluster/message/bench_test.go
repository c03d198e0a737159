package message

import (
	"fmt"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func benchmarked() []sample {
	hashes := ascending(10_000)
	return []sample{
		{"heartbeat", &Heartbeat{Connections: 100_000, Hosts: 20, Sites: 1 << 63}},
		{"delta of 1", &Delta{Host: portal, Channel: "lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1 << 40, Base: 1<<40 - 1, Joined: members(1), Conns: 1000,
		}}},
		{"delta of 10,000", &Delta{Host: portal, Channel: "lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1 << 40, Joined: members(10_000), Conns: 10_000,
		}}},
		{"reply of 10,000 hashes", &Reply{ID: 1, Last: true, Count: Count{LoggedIn: 10_000, Users: 10_000, Hashes: hashes}}},
	}
}

func eachBenchmarked(b *testing.B, run func(b *testing.B, c *Codec, m Message)) {
	for _, secret := range []string{"", secret} {
		c := NewCodec(secret)
		for _, s := range benchmarked() {
			name := s.name
			if secret != "" {
				name += ", authenticated"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(mustAppend(b, c, s.m))))
				run(b, c, s.m)
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	eachBenchmarked(b, func(b *testing.B, c *Codec, m Message) {
		var payload []byte
		for b.Loop() {
			payload, _ = c.Append(payload[:0], subject, web1, m)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	eachBenchmarked(b, func(b *testing.B, c *Codec, m Message) {
		payload := mustAppend(b, c, m)
		for b.Loop() {
			if _, _, err := c.Decode(subject, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSplitReply(b *testing.B) {
	for _, n := range []int{200, 100_000} {
		r := &Reply{Members: members(n)}
		b.Run(fmt.Sprintf("%d members", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				SplitReply(r)
			}
		})
	}
}
