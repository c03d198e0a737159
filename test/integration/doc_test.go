// Package integration tests Rollcall inside Caddy, in the test process, over real sockets. The
// tests share one Caddy, so they run one after another; each loads its own configuration.
package integration
