// Package rollcall is for writing plugins of the Rollcall presence gateway in Go.
//
// A plugin is a program that Rollcall calls at up to six points, the hooks. Each hook is a
// subpackage. Importing it adds the hook to the plugin; a hook that is not imported costs nothing.
//
//   - connect: is this login accepted, and what is shown of the user?
//   - classify: what kind of channel is this?
//   - authorize: may this connection join?
//   - message: is this message sent, and what does it say?
//   - members: what is shown of each user?
//   - shape: what does the whole answer look like?
//
// A whole plugin:
//
//	package main
//
//	import (
//		"strings"
//
//		rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
//		"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
//	)
//
//	func init() {
//		classify.Handle(func(r *rollcall.Request) rollcall.Decision {
//			if strings.HasPrefix(r.Channel, "lobby-") {
//				return rollcall.Anonymous
//			}
//			return rollcall.NoOpinion
//		})
//	}
//
//	func main() {} // never runs
//
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o plugin.wasm .
//
// # What a plugin may rely on
//
// Rollcall runs several instances, each with its own variables, and one call of an instance at a
// time. An instance sees one host, unless the plugin block says shared. There are no files, no
// network and no sleep. A goroutine runs only during a hook. A panic ends the instance; on_failure
// in the plugin block then decides the answer, and refuses by default.
//
// # What it costs
//
// The package imports nothing large, and neither should a small plugin: fmt or encoding/json add
// about 1.4 MB to the 1.8 MB of a plugin, and JSON is slow here. Read options with [Configure]
// instead.
package rollcall
