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
func (*poller) abandon(*Conn)     {}

// cork reports that the kernel does not hold back writes.
func cork(*net.TCPConn, bool) bool { return false }

// The functions below are never called: no connection is in a mode that uses them.

func duplicate(int) (int, error)        { return 0, errors.ErrUnsupported }
func closeNow(int)                      {}
func readNow(int, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func writeNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
