// Package load is a generator of websocket load that costs little itself: one goroutine and one epoll for all
// connections, one buffer to read into, and frames that are taken apart only as far as they are counted. It leaves the
// CPUs to the server that is measured.
//
// A Plan says how a connection is opened, as the bytes of one server's protocol. A Loop opens connections by plans,
// reads from all of them, answers pings and counts messages. It needs Linux.
package load
