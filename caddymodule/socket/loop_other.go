//go:build !linux

package socket

import (
	"errors"
	"net"
)

// canPoll reports that epoll is not available: every connection has a goroutine that reads.
const canPoll = false

type poller struct{}

// Stop stops the loop. It is called after all its connections have ended.
func (*poller) Stop() {}

func (*poller) await(*Conn) error { return errors.ErrUnsupported }
func (*poller) forget(*Conn)      {}

// cork reports that the kernel does not hold back writes.
func cork(*net.TCPConn, bool) bool { return false }

// readNow and writeNow are never called: no connection is in a mode that uses them.
func readNow(int, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func writeNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
