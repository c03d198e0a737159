//go:build !linux

package socket

import (
	"errors"
	"net"
)

// canPoll tells that there is no epoll: every connection has a goroutine that reads.
const canPoll = false

type poller struct{}

// Stop ends the loop, when all its connections have ended.
func (*poller) Stop() {}

func (*poller) await(*Conn) error { return errors.ErrUnsupported }
func (*poller) forget(*Conn)      {}

// cork tells that the kernel does not hold on to what is written.
func cork(*net.TCPConn, bool) bool { return false }

// readNow and writeNow are never called: no connection is in the way that they are for.
func readNow(int, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func writeNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
