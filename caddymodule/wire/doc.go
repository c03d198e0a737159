// Package wire is the websocket protocol rollcall.v1, whose text frames are JSON. [Parse] decodes
// frames from clients; [Encoder] and functions like [Welcome] build frames for them. It holds no
// state and does no I/O.
package wire
