package connect

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/memory"
)

//go:wasmexport rollcall_connect
func export(p unsafe.Pointer, n uint32) int64 {
	result, err := call(memory.Input(p, n))
	switch {
	case err != nil:
		rollcall.Log(rollcall.Error, err.Error())
		return -1
	case result.refused:
		return 1
	}
	if changed := result.JSON(); changed != "" {
		return memory.Output([]byte(changed))
	}
	return 0
}
