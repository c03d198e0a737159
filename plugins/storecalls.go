package plugins

import (
	"encoding/binary"
	"fmt"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

const (
	maxKey   = 128     // bytes
	maxValue = 4 << 10 // bytes
	maxTTL   = 86_400_000
	storeTry = 3 // attempts if a store ends during a call
)

// storeImport reports whether an import of the module rollcall uses the store.
func storeImport(name string) bool { return name == "kv_get" || name == "kv_set" || name == "kv_add" }

// hostGet copies a value if it fits, and returns its length.
func hostGet(in *instance, stack []uint64) {
	key := in.storeKey("kv_get", stack[0], stack[1])
	ptr, size := uint32(stack[2]), uint32(stack[3])
	var e item
	var found bool
	in.useStore(0, func(s *store, now int64) outcome {
		e, found = s.get(key, now)
		return stored
	})
	if !found {
		in.charge(len(key))
		stack[0] = 1<<64 - 1
		return
	}
	n := len(e.value)
	if e.counter {
		n = 8
	}
	in.charge(len(key) + n)
	if uint64(n) <= uint64(size) {
		b := in.stored("kv_get", "value", ptr, uint32(n))
		if e.counter {
			binary.LittleEndian.PutUint64(b, e.number)
		} else {
			copy(b, e.value)
		}
	}
	stack[0] = uint64(n)
}

// hostSet stores a value or removes a key. It returns 1 if there is no room.
func hostSet(in *instance, stack []uint64) {
	key := in.storeKey("kv_set", stack[0], stack[1])
	if size := uint32(stack[3]); size > maxValue {
		panic(fmt.Errorf("rollcall.kv_set: the value has %s, at most %d are stored", plural.Of(size, "byte"), maxValue))
	}
	value := in.stored("kv_set", "value", uint32(stack[2]), uint32(stack[3]))
	ttl := in.lifetime("kv_set", 0, stack[4])
	in.charge(len(key) + len(value))
	o := in.useStore(entrySize(len(key), len(value)), func(s *store, now int64) outcome {
		return s.set(key, value, now, now+ttl, in.pool.plugin.limits.KV)
	})
	if stack[0] = 1; o == stored || ttl == 0 {
		stack[0] = 0
	}
}

// hostAdd adds to a counter and returns the sum. Without room it returns more than any sum.
func hostAdd(in *instance, stack []uint64) {
	key := in.storeKey("kv_add", stack[0], stack[1])
	delta := int64(stack[2])
	ttl := in.lifetime("kv_add", 1, stack[3])
	in.charge(len(key) + 8)
	sum := int64(noSum)
	in.useStore(entrySize(len(key), 8), func(s *store, now int64) (o outcome) {
		sum, o = s.add(key, delta, now, now+ttl, in.pool.plugin.limits.KV)
		return o
	})
	stack[0] = uint64(sum)
}

// hostCount adds to a counter of the plugin in the metrics.
func hostCount(in *instance, stack []uint64) {
	ptr, size, delta := uint32(stack[0]), uint32(stack[1]), int64(stack[2])
	if size < 1 || size > maxCountName {
		panic(fmt.Errorf("rollcall.count: the name has %s, a name has 1 to %d", plural.Of(size, "byte"), maxCountName))
	}
	name := in.stored("count", "name", ptr, size)
	if !validCountName(name) {
		panic(fmt.Errorf("rollcall.count: the name %q has other characters than a-z, 0-9 and _", name))
	}
	if delta < 0 {
		panic(fmt.Errorf("rollcall.count: %d is negative, counters only grow", delta))
	}
	in.pool.plugin.count(name, uint64(delta))
}

// storeKey returns the key of a call of the store, and checks that the hook may use it.
func (in *instance) storeKey(call string, ptr, size uint64) []byte {
	switch in.hook {
	case HookAuthorize, HookConnect, HookMessage:
	default:
		panic(fmt.Errorf("rollcall.%s works in connect, authorize and message only", call))
	}
	if n := uint32(size); n < 1 || n > maxKey {
		panic(fmt.Errorf("rollcall.%s: the key has %s, a key has 1 to %d", call, plural.Of(n, "byte"), maxKey))
	}
	return in.stored(call, "key", uint32(ptr), uint32(size))
}

// stored returns the bytes of an argument.
func (in *instance) stored(call, what string, ptr, size uint32) []byte {
	b, ok := in.view(ptr, size)
	if !ok {
		panic(fmt.Errorf("rollcall.%s: %s of %s at %d outside the memory of %d bytes", call, what,
			plural.Of(size, "byte"), ptr, in.linear.Size()))
	}
	return b
}

// lifetime returns a time to live in nanoseconds.
func (in *instance) lifetime(call string, least int64, ms uint64) int64 {
	ttl := int64(ms)
	if ttl < least || ttl > maxTTL {
		panic(fmt.Errorf("rollcall.%s: a time to live of %d ms, want %d to %d", call, ttl, least, maxTTL))
	}
	return ttl * 1e6
}

// charge takes steps for bytes that the host reads or writes.
func (in *instance) charge(bytes int) {
	if steps := int64(bytes / 8); steps > 0 {
		// The guest takes its next slice as soon as this one is below zero.
		in.slice.Set(uint64(int64(in.slice.Get()) - steps))
	}
}

// useStore calls f with the store of the plugin and the host. If the memory of the engine is too
// small, it makes room for bytes, once, and calls f again.
func (in *instance) useStore(bytes int64, f func(s *store, now int64) outcome) outcome {
	p := in.pool
	c := p.plugin
	now := c.engine.clock()
	made := false
	for range storeTry {
		s := p.stored.Load()
		if s == nil {
			if s = c.stores.open(c.name, p.host, c.storeBudget); s == nil {
				return storeFull
			}
			p.stored.Store(s)
		}
		o := storeGone
		s.mu.Lock()
		if !s.gone {
			o = f(s, now)
		}
		s.mu.Unlock()
		switch {
		case o == storeGone:
			p.stored.CompareAndSwap(s, nil)
		case o == storeShort && !made:
			if made = c.makeStoreRoom(bytes+storeBytes, now); !made {
				return o
			}
		default:
			return o
		}
	}
	return storeFull
}

// makeStoreRoom removes expired entries, and closes idle instances, until the engine has room for
// bytes.
func (c *core) makeStoreRoom(bytes, now int64) bool {
	if !c.stores.searches.allow() {
		return false
	}
	enough := func() bool { return c.storeBudget.HasRoom(bytes) }
	return c.stores.expireAny(now, enough) || c.engine.janitor.evict(enough)
}
