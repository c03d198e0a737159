// What the examples shared_data and metrics of the Go SDK of Proxy-Wasm do, with this SDK: each
// message increments a value that all instances share, and counts its own text.
package main

import (
	"encoding/binary"
	"strconv"
	"time"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/kv"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/message"
)

const key = "shared_data_key"

func init() {
	message.Handle(func(m *message.Message) message.Result {
		n := kv.Add(key, 1, time.Hour) // one call, where they compare and set in a loop
		stored, ok := kv.Get(key)
		if !ok || int64(binary.LittleEndian.Uint64(stored)) < n {
			rollcall.Log(rollcall.Error, "the stored value is not what was added")
		}
		rollcall.Log(rollcall.Info, "shared value: "+strconv.FormatInt(n, 10))
		if text := m.Text("my-custom-header"); text != "" {
			rollcall.Count("custom_header_value_counts_"+text, 1)
		}
		return message.Send
	})
}

func main() {}
