package socket

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// ioMode is how a connection is read and written.
type ioMode uint8

const (
	// modeBlocking reads on a goroutine that waits: without epoll, and for connections that are
	// wrapped.
	modeBlocking ioMode = iota
	// modePlain reads and writes TCP without blocking, and parks the connection when there is
	// nothing to read.
	modePlain
	// modeTLS reads on a goroutine until the TLS record is complete, and parks the connection when
	// no complete record is left.
	modeTLS
)

// errNoData is returned when there is nothing to read yet.
var errNoData = errors.New("no data to read")

// partTimeout is how long a goroutine waits for the rest of a TLS record.
const partTimeout = time.Second

// modeOf returns how a connection is read and written, and its file descriptor.
func modeOf(nc stream) (ioMode, int) {
	found := modePlain
	if secure, ok := nc.(*tls.Conn); ok {
		nc, found = secure.NetConn(), modeTLS
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return modeBlocking, -1
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return modeBlocking, -1
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		return modeBlocking, -1
	}
	return found, fd
}

// readSome reads. If there is nothing to read and the connection can be parked, it returns
// errNoData.
func (c *Conn) readSome(buf []byte) (int, error) {
	switch c.mode {
	case modePlain:
		if !c.isClosing() {
			return readNow(c.fd, buf)
		}
	case modeTLS:
		// Before parking, read the bytes that the TLS layer has buffered, without waiting: epoll
		// does not report them. After a wake-up, there is something to read in the kernel.
		wait := time.Unix(1, 0)
		if c.readable {
			wait, c.readable = time.Now().Add(partTimeout), false
		}
		if c.setReadDeadline(wait) {
			n, err := c.nc.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.isClosing() {
				err = errNoData
			}
			return n, err
		}
	default:
		c.setReadDeadline(time.Time{}) // the wheel ends silences: it knows when the process was suspended
	}
	return c.nc.Read(buf) // until the deadline of the close
}

// setReadDeadline sets the deadline, unless a close has started: that one's deadline stays.
func (c *Conn) setReadDeadline(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	_ = c.attach().SetReadDeadline(t)
	return true
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// park leaves the connection to the loop. From then on, it belongs to the goroutine that wakes it.
// park returns false for a connection that is closing. If the kernel refuses, it sets parkFailed
// and returns false.
func (c *Conn) park() bool {
	c.parkFailed = false
	parked, err := c.tryPark()
	if err != nil {
		c.parkFailed = true
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
	c.detach()
	if err := c.loop.await(c); err != nil {
		return false, err
	}
	c.parked = true
	return true, nil
}

// wake resumes reading if the connection is parked.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

func (c *Conn) wakeLocked() {
	if c.parked {
		c.parked, c.readable = false, true
		go c.read()
	}
}
