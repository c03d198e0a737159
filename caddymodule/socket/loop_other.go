//go:build !linux

package socket

import "errors"

// poller is for systems with epoll. Elsewhere every connection has a goroutine that reads.
type poller struct{}

func newPoller() *poller { return nil }

func (*poller) stop()             {}
func (*poller) await(*Conn) error { return errors.ErrUnsupported }
func (*poller) forget(*Conn)      {}

// readNow and writeNow are never called: no connection is in the way that they are for.
func readNow(int, []byte) (int, error)  { return 0, errors.ErrUnsupported }
func writeNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
