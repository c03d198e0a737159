// Package wire is the websocket protocol rollcall.v1: text frames of JSON, decoded from clients with [Parse] and
// built for them by [Encoder] and the functions beside it. It holds no state and does no I/O.
package wire
