package members

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/memory"
)

// exportLive tells Rollcall that the plugin knows the endpoints Live and Events.
//
//go:wasmexport rollcall_members_live
func exportLive() {}

//go:wasmexport rollcall_members
func export(e int32, p unsafe.Pointer, n uint32) int64 {
	records, err := call(rollcall.Endpoint(e), memory.Input(p, n))
	switch {
	case err != nil:
		rollcall.Log(rollcall.Error, err.Error())
		return -1
	case records == nil:
		return 0
	}
	return memory.Output(records)
}
