package main

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rollcall-gateway/rollcall/bench/load"
)

// parked is a floor whose connections have neither a goroutine nor a buffer.
type parked struct {
	epoll  int
	buffer []byte
	joined bool

	// mu guards the fields below, between the reader and the goroutine that delivers joined
	// messages.
	mu      sync.Mutex
	fds     []int
	pending []byte
	more    *sync.Cond
}

func serveParked(l net.Listener, name string) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	p := &parked{epoll: epoll, buffer: make([]byte, 256<<10), joined: name == floorJoined}
	p.more = sync.NewCond(&p.mu)
	failed := make(chan error, 3) // all end with the process
	go func() { failed <- p.accept(l) }()
	go func() { failed <- p.read() }()
	if p.joined {
		go func() { failed <- p.deliver() }()
	}
	return <-failed
}

func (p *parked) accept(l net.Listener) error {
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	listener := int(file.Fd()) // makes it blocking
	hello := frameOf(welcome)
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
		p.mu.Lock()
		p.fds = append(p.fds, fd)
		p.mu.Unlock()
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return err
		}
		if err := writeAll(fd, hello); err != nil {
			return err
		}
	}
}

// read reads messages from any connection.
func (p *parked) read() error {
	events := make([]unix.EpollEvent, 128)
	var tail []byte // only one connection sends
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			begin := copy(p.buffer, tail)
			n, err := unix.Read(fd, p.buffer[begin:])
			if n <= 0 {
				if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
					p.remove(fd)
				}
				continue
			}
			messages, rest := load.Unmask(p.buffer[:begin+n])
			if err := p.publish(messages); err != nil {
				return err
			}
			tail = append(tail[:0], rest...)
		}
	}
}

func (p *parked) remove(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.fds {
		if other == fd {
			p.fds[i] = p.fds[len(p.fds)-1]
			p.fds = p.fds[:len(p.fds)-1]
			break
		}
	}
	_ = unix.Close(fd)
}

func (p *parked) publish(messages []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, message := range messages {
		frame := frameOf(message)
		if p.joined {
			p.pending = append(p.pending, frame...)
			p.more.Signal()
			continue
		}
		for _, fd := range p.fds {
			if err := writeAll(fd, frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver writes all pending messages to each connection, while new ones are collected.
func (p *parked) deliver() error {
	var piece []byte
	var fds []int
	for {
		p.mu.Lock()
		for len(p.pending) == 0 {
			p.more.Wait()
		}
		piece, p.pending = p.pending, piece[:0]
		fds = append(fds[:0], p.fds...)
		p.mu.Unlock()
		for _, fd := range fds {
			if err := writeAll(fd, piece); err != nil {
				return err
			}
		}
	}
}

// writeAll waits if a socket is full. A closed connection is not an error: the reader will remove
// it.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == nil:
			b = b[n:]
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EBADF):
			return nil
		default:
			return err
		}
	}
	return nil
}
