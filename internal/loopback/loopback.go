// Package loopback finds free addresses for the servers of tests and benchmarks.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Linux uses the ports from 32768 on for outgoing connections, and could give one of them the port
// of a server that is about to listen.
const (
	firstPort = 10_000
	pastPorts = 32_768
)

var (
	mu    sync.Mutex
	given = make(map[int]bool)
)

// Address returns a free HOST:PORT of loopback, and never the same twice.
func Address() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		// Random, because several processes search at the same time.
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
	return "", errors.New("no loopback port is free")
}

// AddressFor is Address for a test. The test fails if no port is free.
func AddressFor(t testing.TB) string {
	t.Helper()
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
