// Package socket is one websocket, from the upgrade to the close.
//
// [Upgrade] takes the connection out of net/http and of every middleware around it;
// gorilla/websocket does the handshake. From then on this package reads and writes (RFC 6455). An
// idle connection is parked in the [Loop] and has neither a goroutine nor a buffer. A frame is
// built once with [Text] and shared by all connections that receive it. Pending frames of a
// connection are joined into one write.
//
// Everything is bounded: the queue in bytes, a message in size, a write and a silence in time. The
// [Wheel] pings connections and drops silent ones.
package socket
