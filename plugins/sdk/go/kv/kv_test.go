package kv

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestStore(t *testing.T) {
	at := time.Now()
	now = func() time.Time { return at }
	t.Cleanup(func() { now = time.Now })
	if _, ok := Get("a"); ok {
		t.Error("there is a value before it was set")
	}
	value := []byte("x")
	if !Set("a", value, time.Minute) {
		t.Error("not set")
	}
	value[0] = 'y'
	if got, ok := Get("a"); !ok || string(got) != "x" {
		t.Errorf("got %q, %t", got, ok)
	}
	if sum := Add("a", 1, time.Minute); sum != Full {
		t.Errorf("adding to a text: %d", sum)
	}
	for want := int64(1); want <= 3; want++ {
		if sum := Add("n", 1, time.Minute); sum != want {
			t.Errorf("got %d, want %d", sum, want)
		}
		at = at.Add(time.Second)
	}
	Delete("a")
	if _, ok := Get("a"); ok {
		t.Error("still there")
	}
	at = at.Add(57 * time.Second) // one minute after the first Add
	if sum := Add("n", 5, time.Minute); sum != 5 {
		t.Errorf("after its end: %d", sum)
	}
}

func TestCountersStop(t *testing.T) {
	const most = math.MaxInt64 - 1
	for _, c := range []struct{ a, b, want int64 }{
		{most, 1, most}, {1, math.MaxInt64, most}, {-1, math.MinInt64, -most}, {0, math.MinInt64, -most}, {5, -7, -2}, {most, -1, most - 1},
	} {
		if got := addBounded(c.a, c.b); got != c.want {
			t.Errorf("%d + %d: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestStorePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"no key":      func() { Get("") },
		"a long key":  func() { Get(strings.Repeat("k", 129)) },
		"a value":     func() { Set("k", make([]byte, 4097), time.Second) },
		"a long time": func() { Set("k", nil, 25*time.Hour) },
		"no time":     func() { Add("k", 1, 0) },
		"too short":   func() { Set("k", nil, time.Millisecond/2) },
		"before":      func() { Set("k", nil, -time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
