package authorize

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/memory"
)

//go:wasmexport rollcall_authorize
func export(p unsafe.Pointer, n uint32) int64 {
	verdict, err := call(memory.Input(p, n))
	if err != nil {
		rollcall.Log(rollcall.Error, err.Error())
		return -1
	}
	return int64(verdict)
}
