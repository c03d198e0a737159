package socket

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// way is how a connection is read and written.
type way uint8

const (
	// wayBlocking reads on a goroutine that waits: where the kernel cannot be asked, and for connections that are wrapped.
	wayBlocking way = iota
	// wayPlain reads and writes TCP as far as that goes at once, and is parked when nothing more is there.
	wayPlain
	// waySecure reads TLS on a goroutine until its record is whole, and is parked when no whole one is left.
	waySecure
)

// errNothing is returned when nothing more has come yet.
var errNothing = errors.New("nothing has come")

// partTimeout is how long a goroutine waits for the rest of a TLS record.
const partTimeout = time.Second

// wayOf finds out how a connection is read and written, and the file descriptor to wait for.
func wayOf(nc net.Conn) (way, int) {
	found := wayPlain
	if secure, ok := nc.(*tls.Conn); ok {
		nc, found = secure.NetConn(), waySecure
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return wayBlocking, -1
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return wayBlocking, -1
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		return wayBlocking, -1
	}
	return found, fd
}

// fill reads. It returns errNothing when nothing has come, if the connection can be parked then.
func (c *Conn) fill(buf []byte) (int, error) {
	switch c.way {
	case wayPlain:
		if !c.isClosing() {
			return readNow(c.fd, buf)
		}
	case waySecure:
		// What the TLS layer has taken from the kernel already is had without waiting, and before parking: the kernel would
		// not tell of it. Once woken, there is something in the kernel.
		wait := time.Unix(1, 0)
		if c.woken {
			wait, c.woken = time.Now().Add(partTimeout), false
		}
		if c.setReadDeadline(wait) {
			n, err := c.nc.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.isClosing() {
				err = errNothing
			}
			return n, err
		}
	default:
		c.setReadDeadline(time.Time{}) // who is silent is for the wheel to say: it knows when the process stood still
	}
	return c.nc.Read(buf) // until the deadline of the close
}

// setReadDeadline sets it, unless a close has begun, whose deadline stands.
func (c *Conn) setReadDeadline(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	_ = c.nc.SetReadDeadline(t)
	return true
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// park leaves the connection to the kernel, which tells when something comes. From then on it belongs to whoever wakes it.
// It returns false for a connection that is closing, and sets refused and returns false when the kernel refuses.
func (c *Conn) park() bool {
	c.refused = false
	parked, err := c.tryPark()
	if err != nil {
		c.refused = true
		c.loop.report(err)
	}
	return parked
}

func (c *Conn) tryPark() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false, nil
	}
	if err := c.loop.await(c); err != nil {
		return false, err
	}
	c.parked = true
	return true, nil
}

// wake goes on reading if the connection is parked.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

func (c *Conn) wakeLocked() {
	if c.parked {
		c.parked, c.woken = false, true
		go c.read()
	}
}
