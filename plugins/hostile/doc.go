// Package hostile tests the plugin host with malicious guests and files. It has no code of its own.
//
// The guests are assembled from parts in the text format of WebAssembly, and compiled by wat2wasm
// (Debian package wabt). Those of testdata/go are written in Go. Each runs in the real engine. A
// guest behaves until its input ends in a space or an exclamation mark, so one test sees the plugin
// work, fail, and work again.
//
// Every test demands of the engine that
//   - a call ends in bounded time,
//   - the failure has a reason, which is returned, counted and logged,
//   - the policy decides what follows,
//   - the next call gets a new instance,
//   - memory is freed, what plugins store is bounded, and
//   - the calls of other hosts continue meanwhile.
//
// Files that could end the process are loaded by a child process with a memory limit.
package hostile
