package caddymodule

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// The hosts of a long matcher are read once, however many handlers are behind it, and forgotten with it.
func TestLongMatchersAreReadOnce(t *testing.T) {
	hosts := make(caddyhttp.MatchHost, 5000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("%d.example.com", i)
	}
	set := newHostSet(hosts)
	if again := newHostSet(hosts); &again.Patterns()[0] != &set.Patterns()[0] {
		t.Fatal("the hosts are read and indexed again")
	}
	for i := range hosts {
		one := hostpattern.SetOf(hosts[i])
		if both := set.Intersect(one); !slices.Equal(both.Patterns(), one.Patterns()) || !set.Contains(one) {
			t.Fatalf("%s: %v", hosts[i], both)
		}
	}
	key := weak.Make(&hosts[0])
	hosts = nil //nolint:wastedassign // nothing refers to the matcher from here on
	for deadline := time.Now().Add(time.Minute); ; runtime.GC() {
		if _, known := longMatchers.Load(key); !known {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a matcher that is gone is kept")
		}
	}
}
