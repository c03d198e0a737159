// Package rollcall is for writing plugins of the Rollcall presence gateway in Go.
//
// A plugin is a program that Rollcall calls at up to four points, the hooks. Each hook is a package beside this one:
// what a plugin imports is what it is called for, and nothing else costs a call.
//
//   - classify: what kind of channel is this?
//   - authorize: may this connection join?
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
// It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o plugin.wasm .
//
// # What a plugin may rely on
//
// Rollcall runs one call of an instance at a time, and runs several instances, each with variables of its own. An
// instance sees one host, unless the plugin block says shared. There are no files, no network and no sleep. A goroutine
// runs only while a hook does. A panic ends the instance; what is answered then is up to on_failure in the plugin
// block, which by default refuses.
//
// # What it costs
//
// The package imports nothing heavy, and neither should a plugin that wants to be small: fmt or encoding/json add about
// 1.4 MB to the 1.8 MB of a plugin, and JSON is slow here. Options are read without them, see [Configure].
package rollcall
