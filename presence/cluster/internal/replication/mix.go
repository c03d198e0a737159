package replication

import (
	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence"
)

// seedOf returns the hash of a shard of a host, which is its seed for mix and finds its subject.
func seedOf(host presence.HostName, shard uint8) uint64 {
	return scramble(xxhash.Sum64String(host.String()) + uint64(shard))
}

// mix returns what a shard adds to a sum. The probability that other shards or clocks have the same
// sum is 2^-64.
func mix(seed, clock uint64) uint64 { return scramble(seed + clock) }

// scramble is the finalizer of MurmurHash3.
func scramble(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
