package assignment

import "fmt"

// Mode is where messages go that an assigned user sends to the channel. The zero value is that of who is not assigned.
type Mode uint8

const (
	// None is no assignment.
	None Mode = iota
	// Ignore leaves messages to those who listen; the backend hears of none.
	Ignore
	// Listen has messages copied to the backend too.
	Listen
	// Receive has messages go to the backend and nobody else.
	Receive
)

// String returns the mode as it is written in requests.
func (m Mode) String() string {
	switch m {
	case None:
		return "none"
	case Ignore:
		return "ignore"
	case Listen:
		return "listen"
	case Receive:
		return "receive"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// ParseMode returns the mode that a request names: "ignore", "listen" or "receive"; "" is ignore.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "", "ignore":
		return Ignore, nil
	case "listen":
		return Listen, nil
	case "receive":
		return Receive, nil
	}
	return None, fmt.Errorf("unknown mode %q: use ignore, listen or receive", s)
}
