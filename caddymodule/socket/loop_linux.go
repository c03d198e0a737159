package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canPoll reports that epoll is available.
const canPoll = true

// poller waits for many connections with epoll. Each registration wakes a connection once
// (EPOLLONESHOT).
//
// The epoll descriptor is itself pollable, and Go's runtime polls it: so waiting takes a goroutine
// but no thread.
type poller struct {
	// mu guards the fields below. It is acquired last.
	mu     sync.Mutex
	file   *os.File      // epoll instance; nil until a connection is parked
	fd     int           // descriptor of file
	closed bool          // Stop was called
	done   chan struct{} // closed when run has returned
	conns  []*Conn       // by file descriptor; nil if not registered
}

// open starts waiting, unless it has started. After an error nothing is kept, so that the next call
// can succeed. p.mu is held.
func (p *poller) open() error {
	switch {
	case p.closed:
		return os.ErrClosed
	case p.file != nil:
		return nil
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	// An error means that the runtime cannot poll the file. Then run would end at once.
	err = file.SetReadDeadline(time.Time{})
	var raw syscall.RawConn
	if err == nil {
		raw, err = file.SyscallConn()
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	p.fd, p.file, p.done = fd, file, make(chan struct{})
	go p.run(raw) // ends with Stop
	return nil
}

// Stop stops the loop. It is called after all its connections have ended.
func (p *poller) Stop() {
	p.mu.Lock()
	file, done := p.file, p.done
	p.closed = true
	p.mu.Unlock()
	if file != nil {
		_ = file.Close()
		<-done
	}
}

func (p *poller) run(raw syscall.RawConn) {
	defer close(p.done)
	var events [256]syscall.EpollEvent
	var due []*Conn
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var failed error
			if n, failed = syscall.EpollWait(int(fd), events[:], 0); failed != nil {
				n = 0 // interrupted
			}
			return n > 0
		})
		if err != nil {
			return // stopped
		}
		due = p.connsFor(due[:0], events[:n])
		for i, c := range due {
			due[i] = nil
			c.wake()
		}
	}
}

// connsFor appends the connections of the events to due. A descriptor may have been closed since,
// and belong to another connection: that one is woken for nothing, and parks again.
func (p *poller) connsFor(due []*Conn, events []syscall.EpollEvent) []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if fd := int(e.Fd); fd < len(p.conns) && p.conns[fd] != nil {
			due = append(due, p.conns[fd])
		}
	}
	return due
}

// await registers c to be woken when it is readable. c.mu is held, so that c is not closed
// meanwhile.
func (p *poller) await(c *Conn) error {
	op := syscall.EPOLL_CTL_MOD
	if !c.awaited {
		op = syscall.EPOLL_CTL_ADD
		if err := p.put(c); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: int32(c.fd)}
	if err := syscall.EpollCtl(p.fd, op, c.fd, &event); err != nil {
		if !c.awaited {
			p.drop(c)
		}
		return fmt.Errorf("epoll: %w", os.NewSyscallError("epoll_ctl", err))
	}
	c.awaited = true
	return nil
}

func (p *poller) put(c *Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return err
	}
	for len(p.conns) <= c.fd {
		p.conns = append(p.conns, nil)
	}
	p.conns[c.fd] = c
	return nil
}

// forget removes the connection before it is closed. The kernel removes it on close.
func (p *poller) forget(c *Conn) {
	if c.awaited {
		p.drop(c)
	}
}

// abandon removes a connection whose descriptor is closed while a duplicate stays open: the kernel
// would not remove it.
func (p *poller) abandon(c *Conn) {
	p.drop(c)
	_ = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, c.fd, nil)
}

func (p *poller) drop(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[c.fd] == c {
		p.conns[c.fd] = nil
	}
}

// duplicate returns another descriptor of the same connection. It is above those of the standard
// streams: a failed write to these as an *os.File would end the process.
func duplicate(fd int) (int, error) {
	for {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if !errors.Is(err, syscall.EINTR) {
			return n, os.NewSyscallError("fcntl", err)
		}
	}
}

// closeNow closes a descriptor. The kernel releases it even if it reports an error.
func closeNow(fd int) { _ = syscall.Close(fd) }

// readNow reads without blocking. It returns errNoData if there is nothing to read.
func readNow(fd int, buf []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case errors.Is(err, syscall.EAGAIN):
			return 0, errNoData
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// writeNow writes as much as the kernel accepts without blocking, possibly nothing.
func writeNow(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case !errors.Is(err, syscall.EINTR):
			return max(n, 0), os.NewSyscallError("write", err)
		}
	}
}

// cork makes the kernel hold back writes for at most 200 ms, or send them (tcp(7), TCP_CORK). It
// reports whether the kernel now holds them back.
func cork(nc *net.TCPConn, on bool) bool {
	raw, err := nc.SyscallConn()
	if err != nil {
		return false
	}
	value := 0
	if on {
		value = 1
	}
	failed := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, value)
	})
	return on && failed == nil && err == nil
}
