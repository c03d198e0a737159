package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkManySites loads a configuration of very many sites. Compare "rollcall" with "plain": the
// same sites with a respond in its place.
func BenchmarkManySites(b *testing.B) {
	const sites = 2000
	for _, kind := range []string{"plain", "rollcall"} {
		var text strings.Builder
		for i := range sites {
			handler := "respond 404"
			if kind == "rollcall" {
				handler = fmt.Sprintf("rollcall {\napi_key the-key-of-the-endpoints-of-site-%05d\njwt {\nkey the-secret-of-the-tokens-for-site-%05d\n}\n}", i, i)
			}
			fmt.Fprintf(&text, "http://site-%05d.example.com {\nhandle /message/* {\n%s\n}\nhandle {\nreverse_proxy localhost:3000\n}\n}\n", i, handler)
		}
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				ctx := newContext(b, text.String(), "")
				b.StartTimer()
				if _, err := ctx.App("http"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
