// Command soak holds very many connections to Rollcall for a long time, while some leave, others come, and messages go
// around. At each minute everything stands still for a moment, and all answers of the endpoints are compared with a model
// of what is connected. In the end, all connections are closed, and goroutines and open files have to be as many as before
// the first.
//
//	go run ./soak -caddy ../bin/caddy
//
// It prints a line a minute, and exits with 1 on any difference. Where a process may not have as many open files as there
// are connections, several pods in one data center share them (see ulimit -n).
//
// The connections are those of workers, processes that this program starts, one for each pod. Each knows what its own
// connections have joined; this program adds that up and asks the pods.
package main
