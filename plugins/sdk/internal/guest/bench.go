package guest

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Benchmark measures the hooks of an SDK's template in the host: the time of a call of classify,
// and of a user in members.
func Benchmark(b *testing.B, file string) {
	b.Helper()
	config := json.RawMessage(`{"open":["lobby-","help"],"badge":"guest"}`)
	chain, _ := Load(b, plugins.Spec{Path: file, Config: config})
	b.Run("classify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := chain.Classify(host, "team-emea-standup", plugins.Authenticated); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("members", func(b *testing.B) {
		b.ReportAllocs()
		left := b.N
		members := chain.Members(b.Context(), plugins.EndpointUsers, host, nil, func() (plugins.User, bool) {
			left--
			return plugins.User{ID: "1234567890", Email: "someone@example.com"}, left >= 0
		})
		for {
			if _, err := members.Next(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				b.Fatal(err)
			}
		}
	})
}
