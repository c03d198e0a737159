package loopback

import (
	"net"
	"testing"
)

func TestAddress(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Errorf("%s was given twice", address)
		}
		seen[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < firstPort || port >= pastPorts {
			t.Errorf("the port of %s is used for connections that go out", address)
		}
	}
}
