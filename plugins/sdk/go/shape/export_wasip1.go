package shape

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/memory"
)

//go:wasmexport rollcall_shape
func export(e int32, p unsafe.Pointer, n uint32) int64 {
	answer, err := call(rollcall.Endpoint(e), memory.Input(p, n))
	switch {
	case err != nil:
		rollcall.Log(rollcall.Error, err.Error())
		return -1
	case answer == nil:
		return 0
	}
	return memory.Output(answer)
}
