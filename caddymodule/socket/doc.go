// Package socket is one websocket from the upgrade to the close.
//
// [Upgrade] takes the connection out of net/http and of every middleware around it, so that an idle socket costs one
// goroutine with a shallow stack and nothing else. gorilla/websocket does the handshake and reads; this package writes:
// a frame is built once with [Text], shared by all connections it goes to, and what is pending for a connection goes
// out in one write by a goroutine that exists only while there is something to write.
//
// Everything is bounded: the queue in bytes, a message in size, a write and a silence in time. [Wheel] pings.
package socket
