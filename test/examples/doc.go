// Package examples runs the examples that have a plugin: the built binary serves the Caddyfile of the folder with the
// .wasm that is committed there, and what a real websocket and real requests get must be what the README promises. A
// file a folder. The environment variable ROLLCALL_CADDY names the binary; without it, one is built.
package examples
