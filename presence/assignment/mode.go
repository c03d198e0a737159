package assignment

import "fmt"

// Mode is where the messages of an assigned user to the channel go.
type Mode uint8

const (
	// None is not an assignment.
	None Mode = iota
	// Ignore sends messages to listeners, without a copy to the backend.
	Ignore
	// Listen sends messages to listeners, and a copy to the backend.
	Listen
	// Receive sends messages only to the backend.
	Receive
)

// String returns the mode as requests spell it.
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
