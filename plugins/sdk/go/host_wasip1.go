package rollcall

import (
	"unsafe"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/memory"
)

//go:wasmexport rollcall_abi_v1
func abi() {}

//go:wasmexport rollcall_buffer
func buffer(size uint32) unsafe.Pointer {
	return memory.Buffer(size)
}

//go:wasmexport rollcall_configure
func configureExport(p unsafe.Pointer, n uint32) int32 {
	if err := configure(memory.Input(p, n)); err != nil {
		Log(Error, err.Error())
		return 1
	}
	return 0
}

//go:wasmimport rollcall log
func hostLog(level int32, p unsafe.Pointer, n uint32)

//go:wasmimport rollcall request
func hostRequest(p unsafe.Pointer, size uint32) int32

func writeLog(level Level, text string) {
	hostLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

func readRequest(b []byte) int {
	return int(hostRequest(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))))
}

//go:wasmimport rollcall count
func hostCount(name unsafe.Pointer, size uint32, delta int64)

func count(name string, delta int64) {
	hostCount(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), delta)
}
