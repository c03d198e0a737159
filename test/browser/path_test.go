package browser

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// path is the network between the browser and Caddy: it can be cut, or go dead without notice.
type path struct {
	url string

	mu    sync.Mutex
	pairs []*pair // in the order in which the browser connected
}

// pair is a connection of the browser and its forwarded connection to Caddy.
type pair struct {
	conns [2]net.Conn
	dead  chan struct{} // closed when nothing is forwarded any more
}

// newPath forwards connections to a server, until the test ends.
func newPath(t *testing.T, server string) *path {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	p := &path{url: "http://localhost:" + port}
	t.Cleanup(func() {
		_ = listener.Close()
		p.goDead()
		p.cut()
	})
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.pass(conn, strings.TrimPrefix(server, "http://"))
		}
	}()
	return p
}

func (p *path) pass(conn net.Conn, server string) {
	onward, err := net.Dial("tcp", server)
	if err != nil {
		_ = conn.Close()
		return
	}
	c := &pair{conns: [2]net.Conn{conn, onward}, dead: make(chan struct{})}
	p.mu.Lock()
	p.pairs = append(p.pairs, c)
	p.mu.Unlock()
	for i := range c.conns {
		go func() { // ends with either connection
			_, _ = io.Copy(gate{c.conns[1-i], c.dead}, c.conns[i])
			select {
			case <-c.dead: // the other side is not notified
			default:
				_ = c.conns[1-i].Close()
			}
		}()
	}
}

// gate discards writes once its path is dead.
type gate struct {
	io.Writer
	dead chan struct{}
}

func (g gate) Write(b []byte) (int, error) {
	select {
	case <-g.dead:
		return len(b), nil
	default:
		return g.Writer.Write(b)
	}
}

// goDead stops forwarding on the open connections. New ones work.
func (p *path) goDead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		select {
		case <-c.dead:
		default:
			close(c.dead)
		}
	}
}

// cut closes the open connections.
func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		for _, conn := range c.conns {
			_ = conn.Close()
		}
	}
	p.pairs = nil
}
