package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Mark is a byte that occurs once in each message and nowhere else. Counting it counts messages,
// even if a server puts several into one frame.
const Mark = '~'

const (
	bufferSize = 1 << 20
	batch      = 256 // events read at once
)

// Loop opens connections and reads from them. Only one goroutine may call its methods.
type Loop struct {
	// Messages is the number of messages received by all connections; Bytes is the size of the text
	// frames after the steps.
	Messages, Bytes int
	// Answer, if not empty, is searched for in all text frames after the steps; Answers counts it.
	Answer  []byte
	Answers int
	// OnMessages is called for each frame with messages. It may be nil.
	OnMessages func(c *Conn, n int)
	// OnText is called first for each text frame, even if a step awaits it. It may be nil.
	OnText func(c *Conn, payload []byte)

	epoll   int
	conns   map[int]*Conn // open connections by descriptor
	opened  int
	opening int
	buffer  []byte
	events  [batch]unix.EpollEvent
	err     error  // error of the first lost connection
	other   []byte // a frame that no step awaited
}

// NewLoop returns a loop without connections.
func NewLoop() (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Loop{epoll: epoll, conns: make(map[int]*Conn), buffer: make([]byte, bufferSize)}, nil
}

// Open starts to open a connection. The server's kernel answers at once, the server itself during
// Poll.
func (l *Loop) Open(p *Plan) (*Conn, error) {
	fd, err := dial(p.Address, l.opened)
	if err != nil {
		return nil, err
	}
	c := &Conn{Number: l.opened, loop: l, plan: p, fd: fd}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(fd))
	}
	l.opened++
	l.opening++
	l.conns[fd] = c
	if p.Path == "" {
		c.upgraded = true
		c.proceed(nil)
	} else {
		c.Write([]byte(p.handshake()))
	}
	return c, nil
}

// OpenAll opens n connections by the plans, some at a time, and returns when all are ready.
func (l *Loop) OpenAll(ctx context.Context, n int, plan func(i int) *Plan) ([]*Conn, error) {
	const atOnce = 64
	conns := make([]*Conn, 0, n)
	for len(conns) < n || l.opening > 0 {
		for len(conns) < n && l.opening < atOnce {
			c, err := l.Open(plan(len(conns)))
			if err != nil {
				return conns, err
			}
			conns = append(conns, c)
		}
		if err := l.Poll(ctx, 100*time.Millisecond); err != nil {
			return conns, fmt.Errorf("%d of %d connections were opened, %d are not ready (last frame %.200q): %w",
				len(conns), n, l.opening, l.other, err)
		}
	}
	return conns, nil
}

// Poll reads available data, or waits for some. It returns an error if a connection is lost or ctx
// is done.
func (l *Loop) Poll(ctx context.Context, wait time.Duration) error {
	if err := errors.Join(l.err, ctx.Err()); err != nil {
		return err
	}
	n, err := unix.EpollWait(l.epoll, l.events[:], int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, event := range l.events[:max(n, 0)] {
		c, open := l.conns[int(event.Fd)]
		if !open {
			continue
		}
		if event.Events&unix.EPOLLOUT != 0 {
			c.flush()
		}
		if event.Events&^unix.EPOLLOUT != 0 && !c.closed {
			l.read(c)
		}
	}
	return l.err
}

// PollUntil polls until done returns true.
func (l *Loop) PollUntil(ctx context.Context, done func() bool) error {
	for !done() {
		if err := l.Poll(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) read(c *Conn) {
	begin := copy(l.buffer, c.tail)
	n, err := unix.Read(c.fd, l.buffer[begin:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil:
		l.lose(c, fmt.Errorf("reading: %w", err))
		return
	case n == 0:
		l.lose(c, io.EOF)
		return
	}
	b := l.buffer[:begin+n]
	used, err := c.take(b)
	if err != nil {
		l.lose(c, err)
		return
	}
	if used == len(b) {
		c.tail = nil
		return
	}
	c.tail = append(c.tail[:0], b[used:]...)
}

// lose records that a connection ended unexpectedly.
func (l *Loop) lose(c *Conn, err error) {
	if l.err == nil {
		l.err = fmt.Errorf("connection %d: %w", c.Number, err)
	}
	l.CloseConn(c)
}

// CloseConn resets a connection, so that its port is free at once (no TIME_WAIT).
func (l *Loop) CloseConn(c *Conn) {
	if c.closed {
		return
	}
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.drop(c)
}

// drop removes a connection and closes its descriptor.
func (l *Loop) drop(c *Conn) {
	if c.closed {
		return // lost while writing to it
	}
	if !c.Ready() {
		l.opening--
	}
	c.closed = true
	delete(l.conns, c.fd)
	_ = unix.Close(c.fd)
}

// Leave closes a connection like a browser that leaves the page: it sends a close frame and does
// not wait for an answer.
func (l *Loop) Leave(c *Conn) {
	if c.closed {
		return
	}
	c.Write(appendFrame(nil, opClose, []byte{1001 >> 8, 1001 & 0xff}))
	l.drop(c)
}

// Len returns the number of open connections.
func (l *Loop) Len() int { return len(l.conns) }

// Opening returns the number of connections that are not ready.
func (l *Loop) Opening() int { return l.opening }

// Close closes all connections and the loop.
func (l *Loop) Close() {
	for _, c := range l.conns {
		l.CloseConn(c)
	}
	_ = unix.Close(l.epoll)
}

// watch sets the events that a connection waits for. It cannot fail for an open descriptor.
func (l *Loop) watch(c *Conn, events uint32) {
	event := unix.EpollEvent{Events: events, Fd: int32(c.fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &event); err != nil {
		l.lose(c, fmt.Errorf("epoll: %w", err))
	}
}

// sources is the number of loopback addresses that connections come from: one address does not have
// enough ports for very many.
const sources = 64

// dial starts to connect. Until that is done, the socket accepts no data.
func dial(address string, number int) (int, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a socket: %w", err)
	}
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + number%sources)}}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, from),
	)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return 0, errors.Join(fmt.Errorf("connecting to %s: %w", address, err), unix.Close(fd))
	}
	return fd, nil
}
