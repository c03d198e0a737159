package pusher

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// balance forwards the connections of an address to the same port of other addresses, each to a
// random one, until the test ends.
func balance(t *testing.T, address string, to []string, port string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool) // guarded by mu; nil once the test has ended
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if open == nil {
			_ = c.Close()
			return false
		}
		open[c] = true
		return true
	}
	forward := func(from, to net.Conn) { // ends when one side closes
		_, _ = io.Copy(to, from)
		_, _ = from.Close(), to.Close()
		mu.Lock()
		defer mu.Unlock()
		delete(open, from)
	}
	running.Go(func() { // ends when the cleanup closes the listener
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", net.JoinHostPort(to[rand.IntN(len(to))], port))
			if err != nil {
				_ = near.Close()
				continue
			}
			if keep(near) && keep(far) {
				running.Go(func() { forward(near, far) })
				running.Go(func() { forward(far, near) })
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		open = nil
		mu.Unlock()
		running.Wait()
	})
}
