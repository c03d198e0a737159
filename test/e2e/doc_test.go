// Package e2e tests the built binary: Caddy with Rollcall in its own process, driven by its command
// line, its admin endpoint, signals, and real sockets. The environment variable ROLLCALL_CADDY
// names the binary; if it is not set, one is built.
package e2e
