package app

import (
	"fmt"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// UserPrefix begins the name of the channel to the connections that are signed in as one user.
const UserPrefix = "#server-to-user-"

// Traits is what the prefix of a channel's name says about it. The zero value is a public channel.
type Traits uint8

// Traits of channels.
const (
	Signed    Traits = 1 << iota // subscribers need a signature
	Presence                     // subscribers are members with a user; Signed, too
	Encrypted                    // the events are encrypted from end to end; Signed, too
	Cached                       // the last event is kept for later subscribers
	ToUser                       // UserPrefix and the ID of a user
)

// prefixes are the prefixes that mean something. The longest comes first.
var prefixes = []struct {
	prefix string
	traits Traits
}{
	{"private-encrypted-cache-", Signed | Encrypted | Cached},
	{"private-encrypted-", Signed | Encrypted},
	{"private-cache-", Signed | Cached},
	{presence.SignedPrivatePrefix, Signed},
	{"presence-cache-", Signed | Presence | Cached},
	{presence.SignedMembersPrefix, Signed | Presence},
	{"cache-", Cached},
	{UserPrefix, ToUser},
}

// ParseChannel returns the traits of a channel. It returns an error if no channel can have the
// name.
func ParseChannel(name string) (Traits, error) {
	if err := checkChannel(name); err != nil {
		return 0, err
	}
	for _, p := range prefixes {
		if strings.HasPrefix(name, p.prefix) {
			if p.traits == ToUser && len(name) == len(UserPrefix) {
				return 0, fmt.Errorf("the channel %s has no user", UserPrefix)
			}
			return p.traits, nil
		}
	}
	if name[0] == '#' {
		return 0, fmt.Errorf("a channel that begins with # must begin with %s", UserPrefix)
	}
	return 0, nil
}

// Has reports whether t has all of the traits.
func (t Traits) Has(traits Traits) bool { return t&traits == traits }

// ClientEvents reports whether clients may trigger events in the channel if the site allows it.
func (t Traits) ClientEvents() bool { return t.Has(Signed) && !t.Has(Encrypted) }

func checkChannel(name string) error {
	rest := strings.TrimPrefix(name, "#")
	switch {
	case rest == "":
		return fmt.Errorf("the name of a channel has 1 to %d characters", MaxChannel)
	case len(name) > MaxChannel:
		return fmt.Errorf("the name of a channel has at most %d characters", MaxChannel)
	}
	for i := range len(rest) {
		if !channelByte(rest[i]) {
			return fmt.Errorf("the name of a channel has only letters, digits and _ - = @ , . ;")
		}
	}
	return nil
}

func channelByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-_=@,.;", c) >= 0
}
