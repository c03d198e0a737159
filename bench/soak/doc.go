// Command soak holds very many connections to Rollcall for a long time, while some close, others
// open, and messages are sent. Each minute, everything stops for a moment, and all answers of the
// endpoints are compared with a model of the connections. In the end, all connections are closed.
// The numbers of goroutines and open files must then be the same as before the first.
//
//	go run ./soak -caddy ../bin/caddy
//
// It prints one line per minute, and exits with 1 on any difference. If a process may not open as
// many files as there are connections, several pods in one data center share the connections (see
// ulimit -n).
//
// The connections belong to workers, processes that this program starts, one per pod. Each worker
// knows the channels of its own connections. This program combines them and asks the pods.
package main
