// Package loopback finds addresses for the servers that tests and benchmarks start.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Linux takes the ports from 32768 on for connections that go out. One of them could get the port that a server is about to
// listen on.
const (
	firstPort = 10_000
	pastPorts = 32_768
)

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Address returns a HOST:PORT of loopback that nobody listens on now, and never the same twice.
func Address() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		// Several processes look for ports at the same time.
		port := firstPort + rand.IntN(pastPorts-firstPort) //nolint:gosec // no secret
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", err
		}
		given[port] = true
		return l.Addr().String(), nil
	}
	return "", errors.New("no port of loopback is free")
}

// AddressFor is Address for a test, which fails without one.
func AddressFor(t testing.TB) string {
	t.Helper()
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
