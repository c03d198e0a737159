package kv

import "unsafe"

const maxValue = 4 << 10

//go:wasmimport rollcall kv_get
func hostGet(key unsafe.Pointer, keySize uint32, p unsafe.Pointer, size uint32) int64

//go:wasmimport rollcall kv_set
func hostSet(key unsafe.Pointer, keySize uint32, p unsafe.Pointer, size uint32, ttl int64) int32

//go:wasmimport rollcall kv_add
func hostAdd(key unsafe.Pointer, keySize uint32, delta, ttl int64) int64

var buffer [maxValue]byte

func get(key string) ([]byte, bool) {
	n := hostGet(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)), unsafe.Pointer(&buffer), maxValue)
	if n < 0 {
		return nil, false
	}
	return append([]byte(nil), buffer[:n]...), true
}

func set(key string, value []byte, ttl int64) bool {
	return hostSet(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)),
		unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)), ttl) == 0
}

func add(key string, delta, ttl int64) int64 {
	return hostAdd(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)), delta, ttl)
}
