// Command bench measures what Rollcall costs beside its peers, in one run and by one load generator: a server on the
// centrifuge library, ws and Socket.IO on Node.js, and floors that only read and write frames on TCP.
//
//	go run . -caddy ../bin/caddy -quick            a few figures of everything, in two minutes
//	go run . -caddy ../bin/caddy -output ../docs   all, into docs/benchmarks.md and docs/images/benchmarks.svg
//
// Every server is a process of its own on loopback, whose memory and CPU time the kernel counts; it ends with this program.
// The servers on Node.js are installed into the user's cache folder by npm, at the versions of peers/package-lock.json.
//
// A peer says how to start one kind of server and how clients speak with it; a section measures all peers in turn, some
// rounds of it, and writes a table and panels of the picture. The load is that of the package load.
package main
