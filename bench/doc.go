// Command bench compares the cost of Rollcall with that of its peers, in one run and with one load
// generator. The peers are a server on the centrifuge library, ws and Socket.IO on Node.js, and
// floors that only read and write frames on TCP.
//
//	go run . -caddy ../bin/caddy -quick            a few figures of everything, in two minutes
//	go run . -caddy ../bin/caddy -output ../docs   all, into docs/benchmarks.md and docs/images/benchmarks.svg
//
// Every server is a process on loopback, which ends with this program; the kernel counts its memory
// and CPU time. npm installs the servers on Node.js into the user's cache folder, at the versions
// of peers/package-lock.json. Servers that share channels through Redis need Debian's redis-server,
// which scripts/deps.sh bench installs.
//
// A peer describes how to start one kind of server and how clients talk to it. A section measures
// all peers in turn, in several rounds, and writes a table and panels of the picture. The load
// comes from package load.
package main
