// Package examples tests the examples that have a plugin: the built binary serves the Caddyfile of
// the folder with its committed .wasm, and real websockets and requests must get what the README
// promises. Each folder has a file. The environment variable ROLLCALL_CADDY names the binary; if it
// is not set, one is built.
package examples
