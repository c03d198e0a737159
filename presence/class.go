package presence

import (
	"fmt"
	"strings"
)

// Kind is what a channel is to its listeners. The zero value is no kind.
type Kind uint8

const (
	// Authenticated channels take logged-in connections only and are listed by user.
	Authenticated Kind = iota + 1
	// Anonymous channels take every connection and are listed as a number.
	Anonymous
	// Private channels belong to one connection each, which is in it from connect to close.
	Private
)

// String returns the kind as it is written on the wire.
func (k Kind) String() string {
	switch k {
	case Authenticated:
		return "authenticated"
	case Anonymous:
		return "anonymous"
	case Private:
		return "private"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind returns the kind that a configuration names: "authenticated" or "anonymous".
func ParseKind(s string) (Kind, error) {
	switch s {
	case "authenticated":
		return Authenticated, nil
	case "anonymous":
		return Anonymous, nil
	}
	return 0, fmt.Errorf("unknown kind %q: use authenticated or anonymous", s)
}

// Class is all that a [Classifier] decides about a channel.
type Class struct {
	Kind      Kind // Authenticated or Anonymous
	Denied    bool // nobody may join
	Hidden    bool // never listed for the backend
	CountOnly bool // login needed, listed as a number
}

// Classifier decides what a channel is.
type Classifier interface {
	// Classify returns the class of the named channel of a host. It depends on the two names alone, may be called from
	// many goroutines, and is never called for private channels or while a lock of this package is held. An error
	// refuses the join with [ErrUnavailable]; a channel that is active already keeps its class.
	Classify(host HostName, channel string) (Class, error)
}

// Authorizer decides who may join a channel beyond what its class says.
type Authorizer interface {
	// Authorize returns nil when the user, nil for an anonymous connection, may join the named channel of a host. It is
	// asked when the class lets the connection in, never for a channel that the connection listens to already, from
	// many goroutines, and while no lock of this package is held. [ErrDenied] refuses the join, and so does any other
	// error, as [ErrUnavailable]. Who has joined stays, also as another user.
	Authorize(host HostName, channel string, user *User) error
}

// PrivatePrefix starts the name of every private channel; no other channel may have it.
const PrivatePrefix = "tab|"

// IsPrivate tells whether the name is in the reserved space of private channels.
func IsPrivate(channel string) bool { return strings.HasPrefix(channel, PrivatePrefix) }

// Patterns is the classifier of a site without plugins. In a pattern, '*' stands for any bytes, also none.
//
// A name that matches one of Authenticated is authenticated, else one of Anonymous is anonymous, else
// "anonymous*" is anonymous, and else it is of the Default kind. So the stricter list wins where both match. The
// zero value holds the built-in rules.
type Patterns struct {
	Authenticated []string
	Anonymous     []string
	Default       Kind // default Authenticated
}

// Classify implements [Classifier]; it returns no error.
func (p Patterns) Classify(_ HostName, channel string) (Class, error) {
	for _, pattern := range p.Authenticated {
		if matchPattern(pattern, channel) {
			return Class{Kind: Authenticated}, nil
		}
	}
	for _, pattern := range p.Anonymous {
		if matchPattern(pattern, channel) {
			return Class{Kind: Anonymous}, nil
		}
	}
	if p.Default == Anonymous || strings.HasPrefix(channel, "anonymous") {
		return Class{Kind: Anonymous}, nil
	}
	return Class{Kind: Authenticated}, nil
}

// matchPattern backtracks to the last '*' only, so it takes at most len(pattern)*len(s) steps.
func matchPattern(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
