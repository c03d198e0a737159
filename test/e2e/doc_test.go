// Package e2e tests the built binary: Caddy with Rollcall in a process of its own, driven by its command line, its
// admin endpoint, signals, and real sockets. The environment variable ROLLCALL_CADDY names the binary; without it, one
// is built.
package e2e
