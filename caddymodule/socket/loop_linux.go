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
)

// canPoll tells that there is epoll.
const canPoll = true

// poller waits for many connections with epoll. Each is woken once for each time it asks (EPOLLONESHOT).
//
// Its own file descriptor can be polled too, and Go's runtime does that: so waiting takes a goroutine and no thread.
type poller struct {
	// mu guards the rest. It is taken last.
	mu     sync.Mutex
	file   *os.File      // epoll; nil before the first connection that was parked
	fd     int           // of the file
	closed bool          // by Stop
	done   chan struct{} // closed when run has returned
	conns  []*Conn       // by file descriptor; nil for those that are not here
}

// open begins to wait, unless that has begun. What fails can succeed the next time, so nothing is kept of it. The lock is held.
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
	// It has no deadlines if the runtime could not take it into its own epoll. Then run would end at once.
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

// Stop ends the loop, when all its connections have ended.
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
		due = p.find(due[:0], events[:n])
		for i, c := range due {
			due[i] = nil
			c.wake()
		}
	}
}

// find looks up whom the events are for. A descriptor can have been closed since, and be another connection's: that one
// is woken for nothing, and parks again.
func (p *poller) find(due []*Conn, events []syscall.EpollEvent) []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if fd := int(e.Fd); fd < len(p.conns) && p.conns[fd] != nil {
			due = append(due, p.conns[fd])
		}
	}
	return due
}

// await has the connection woken when something can be read. Its lock is held, so that nobody closes it meanwhile.
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

// forget takes the connection out, before it is closed. The kernel forgets it then.
func (p *poller) forget(c *Conn) {
	if c.awaited {
		p.drop(c)
	}
}

func (p *poller) drop(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[c.fd] == c {
		p.conns[c.fd] = nil
	}
}

// readNow reads what is there, and returns errNothing when there is nothing.
func readNow(fd int, buf []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case errors.Is(err, syscall.EAGAIN):
			return 0, errNothing
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// writeNow writes as much as is taken at once, which can be nothing.
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

// cork has the kernel hold on to what is written, or send it, and reports whether it does hold on. It does so for 200 ms at most
// (tcp(7), TCP_CORK).
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
