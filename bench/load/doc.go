// Package load generates websocket load at little cost, to leave the CPUs to the measured server.
// It uses one goroutine and one epoll for all connections and one buffer to read into, and parses
// frames only as far as it counts them.
//
// A Plan describes how a connection is opened, as bytes of one server's protocol. A Loop opens
// connections by plans, reads from all of them, answers pings and counts messages. It needs Linux.
package load
