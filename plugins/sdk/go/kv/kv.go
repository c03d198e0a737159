// Package kv is the plugin's store: values by key, each for a time. Importing it adds the store to a
// plugin.
//
// The store belongs to the plugin and the host on one pod. It is the same for all instances, survives
// another file of the plugin, and is empty after a restart. It works in the hooks connect, authorize
// and message; a call elsewhere, a key that is not 1 to 128 bytes long, a value of more than 4 KiB, and
// a time that is not 1 ms to 24 h end the hook as a panic does.
//
// In the tests of a plugin, the store is a map.
package kv

import "time"

// Full is what [Add] returns if the store is full.
const Full = 1<<63 - 1

// Get returns a value, and whether there is one.
func Get(key string) (value []byte, ok bool) { return get(key) }

// Set stores a value for a time. It reports whether it could: if the store is full, the old value stays.
func Set(key string, value []byte, ttl time.Duration) bool {
	ms := ttl.Milliseconds()
	if ms < 1 {
		ms = -1 // refused; 0 would remove the value
	}
	return set(key, value, ms)
}

// Delete removes a value.
func Delete(key string) { set(key, nil, 0) }

// Add adds to a counter and returns the sum. A counter that is not there begins at 0 and stays for ttl;
// further calls do not change its end. If the store is full, or the value is no counter, the sum is
// [Full]: write a limit as Add(...) > n, and it holds.
func Add(key string, delta int64, ttl time.Duration) int64 {
	return add(key, delta, ttl.Milliseconds())
}
