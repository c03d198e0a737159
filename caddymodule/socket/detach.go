package socket

import (
	"io"
	"os"
	"time"
)

// stream is the part of a net.Conn that a connection uses. An *os.File of a TCP connection has it
// too.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// detach leaves an idle TCP connection with nothing but a descriptor: Go's runtime keeps 900 bytes
// for each net.Conn. A duplicate of the descriptor takes its place, because a net.Conn does not
// give up its own. If there is none, the connection stays as it is. The reader calls detach, with
// c.mu held.
func (c *Conn) detach() {
	if c.mode != modePlain || c.nc == nil || c.writing {
		return
	}
	fd, err := duplicate(c.fd)
	if err != nil {
		return
	}
	if c.awaited {
		c.loop.abandon(c)
		c.awaited = false
	}
	_ = c.nc.Close() // the duplicate keeps the connection open
	c.nc, c.fd = nil, fd
}

// attach returns the stream, for operations that wait and have deadlines. It returns nil only after
// [Conn.shut]. c.mu is held.
func (c *Conn) attach() stream {
	if c.nc == nil && c.fd >= 0 {
		c.nc = os.NewFile(uintptr(c.fd), "socket") // it owns the descriptor
	}
	return c.nc
}
