// Package hostile tests the plugin host with guests and files that mean harm. It holds no code of its own.
//
// The guests are in the text format of WebAssembly, put together from parts, and become modules by wat2wasm (Debian
// package wabt); those of testdata/go are in Go. Each runs in the real engine. A guest behaves until its input ends
// in a space or an exclamation mark, so that one test sees the plugin work, fail, and work again.
//
// What every test holds the engine to: a call ends in bounded time, the failure has a reason that is returned, counted
// and logged, the policy decides what follows, the next call gets a fresh instance, memory comes back, and the calls of
// other hosts go on meanwhile. Files that could end the process are loaded by a child process with a memory limit.
package hostile
