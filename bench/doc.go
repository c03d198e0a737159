// Command bench measures what Rollcall costs, beside a floor in the same run: a server that only accepts TCP
// connections and keeps one goroutine for each. Absolute figures move with the machine; compare the ratios.
//
//	go run . -caddy ../bin/caddy -conns 10000
//
// It starts the servers as processes of their own on loopback, and ends them.
package main
