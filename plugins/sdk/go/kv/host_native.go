//go:build !wasip1

package kv

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	maxKey   = 128
	maxValue = 4 << 10
	maxTTL   = int64(24 * time.Hour / time.Millisecond)
	most     = math.MaxInt64 - 1 // of a counter
)

type entry struct {
	value []byte
	ends  time.Time
}

var now = time.Now // another clock in tests

var (
	mu      sync.Mutex
	entries = make(map[string]entry)
)

// find returns the entry of a key that has not expired. The lock is held.
func find(key string) (entry, bool) {
	if key == "" || len(key) > maxKey {
		panic("kv: a key has 1 to 128 bytes")
	}
	e, ok := entries[key]
	return e, ok && now().Before(e.ends)
}

func get(key string) ([]byte, bool) {
	mu.Lock()
	defer mu.Unlock()
	e, ok := find(key)
	return slices.Clone(e.value), ok
}

func set(key string, value []byte, ttl int64) bool {
	if ttl < 0 || ttl > maxTTL || len(value) > maxValue {
		panic("kv: a value has at most 4 KiB, and stays for 1 ms to 24 h")
	}
	mu.Lock()
	defer mu.Unlock()
	if find(key); ttl == 0 {
		delete(entries, key)
		return true
	}
	entries[key] = entry{slices.Clone(value), end(ttl)}
	return true
}

func end(ttl int64) time.Time { return now().Add(time.Duration(ttl) * time.Millisecond) }

func add(key string, delta, ttl int64) int64 {
	if ttl < 1 || ttl > maxTTL {
		panic("kv: a counter stays for 1 ms to 24 h")
	}
	mu.Lock()
	defer mu.Unlock()
	e, ok := find(key)
	if !ok {
		e = entry{make([]byte, 8), end(ttl)}
	}
	if len(e.value) != 8 {
		return Full
	}
	sum := addBounded(int64(binary.LittleEndian.Uint64(e.value)), delta)
	e.value = binary.LittleEndian.AppendUint64(nil, uint64(sum))
	entries[key] = e
	return sum
}

// addBounded stops at the bounds of a counter.
func addBounded(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && (sum < 0 || sum > most):
		return most
	case a < 0 && b < 0 && (sum >= 0 || sum < -most):
		return -most
	default:
		return max(-most, min(most, sum))
	}
}
