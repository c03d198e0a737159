package guest

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/tetratelabs/wazero/api"
)

// Entry is what a plugin stored.
type Entry struct {
	Value string
	TTL   int64 // milliseconds
}

// read returns a text of the plugin, and panics if it is not there or has fewer than least or more
// than most bytes. That ends the call, as in the host.
func read(m api.Module, ptr, size uint32, least, most int) string {
	text, ok := m.Memory().Read(ptr, size)
	if !ok || len(text) < least || len(text) > most {
		panic("a pointer out of bounds, or a length that is not allowed")
	}
	return string(text)
}

func (g *Guest) get(_ context.Context, m api.Module, key, keySize, ptr, capacity uint32) int64 {
	entry, ok := g.Store[read(m, key, keySize, 1, 128)]
	if !ok {
		return -1
	}
	if len(entry.Value) <= int(capacity) && !m.Memory().WriteString(ptr, entry.Value) {
		panic("kv_get: out of bounds")
	}
	return int64(len(entry.Value))
}

func (g *Guest) set(_ context.Context, m api.Module, key, keySize, ptr, size uint32, ttl int64) int32 {
	name, value := read(m, key, keySize, 1, 128), read(m, ptr, size, 0, 4096)
	switch {
	case ttl < 0 || ttl > 86_400_000:
		panic("kv_set: a time that is not allowed")
	case ttl == 0:
		delete(g.Store, name)
	case g.Full:
		return 1
	default:
		g.Store[name] = Entry{value, ttl}
	}
	return 0
}

func (g *Guest) add(_ context.Context, m api.Module, key, keySize uint32, delta, ttl int64) int64 {
	name := read(m, key, keySize, 1, 128)
	if ttl < 1 || ttl > 86_400_000 {
		panic("kv_add: a time that is not allowed")
	}
	entry, ok := g.Store[name]
	if !ok {
		entry = Entry{string(make([]byte, 8)), ttl}
	}
	if g.Full || len(entry.Value) != 8 {
		return math.MaxInt64
	}
	sum := int64(binary.LittleEndian.Uint64([]byte(entry.Value))) + delta
	entry.Value = string(binary.LittleEndian.AppendUint64(nil, uint64(sum)))
	g.Store[name] = entry
	return sum
}

func (g *Guest) count(_ context.Context, m api.Module, name, size uint32, delta int64) {
	if delta < 0 {
		panic("count: a number below 0")
	}
	g.Counts[read(m, name, size, 1, 40)] += delta
}
