package presence

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// The longest texts, in bytes. Pods refuse longer ones from each other.
const (
	MaxUserID      = 256
	MaxEmail       = 320 // RFC 5321 allows 64+1+255
	MaxChannelName = 4096
)

// CheckUserID returns nil if a user can have the ID: 1 to MaxUserID bytes of UTF-8 without control characters (U+0000 to
// U+001F and U+007F to U+009F) and without U+FFFD, which decoders put in the place of what they cannot read.
//
// Whoever lets users in checks their IDs and addresses; [Registry.Connect] does not.
func CheckUserID(id string) error {
	if id == "" {
		return errors.New("is empty")
	}
	return checkText(id, MaxUserID).user(MaxUserID)
}

// CheckEmail returns nil if a user can have the e-mail address: at most MaxEmail bytes like those of an ID, or none.
func CheckEmail(email string) error { return checkText(email, MaxEmail).user(MaxEmail) }

// CheckUser returns nil if a user can have the ID and the e-mail address.
func CheckUser(u User) error {
	if err := CheckUserID(u.ID); err != nil {
		return fmt.Errorf("the id %w", err)
	}
	if err := CheckEmail(u.Email); err != nil {
		return fmt.Errorf("the e-mail address %w", err)
	}
	return nil
}

// CheckChannel returns nil if there can be a channel of that name, a private one included: 1 to MaxChannelName bytes like
// those of a user's ID. What a host's [Rules] say comes on top.
//
// It returns ErrBadChannel.
func CheckChannel(name string) error { return checkChannel(name, MaxChannelName) }

func checkChannel(name string, most int) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrBadChannel)
	}
	switch checkText(name, most) {
	case textTooLong:
		return fmt.Errorf("%w: it has more than %d bytes", ErrBadChannel, most)
	case textNotUTF8:
		return fmt.Errorf("%w: it is not UTF-8", ErrBadChannel)
	case textReplaced:
		return errReplaced
	case textControl:
		return fmt.Errorf("%w: it has a control character", ErrBadChannel)
	}
	return nil
}

// textFault is what is wrong with a text; 0: nothing.
type textFault int

const (
	textTooLong textFault = iota + 1
	textNotUTF8
	textReplaced // it has U+FFFD
	textControl
)

// user returns the fault as an error about a text of a user.
func (f textFault) user(most int) error {
	switch f {
	case textTooLong:
		return fmt.Errorf("is longer than %d bytes", most)
	case textNotUTF8, textReplaced:
		return errors.New("is not valid UTF-8")
	case textControl:
		return errors.New("has control characters")
	}
	return nil
}

// checkText returns the first fault of a text of at most that many bytes.
func checkText(s string, most int) textFault {
	if len(s) > most {
		return textTooLong
	}
	for i := plainPrefix(s); i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return otherFault(s, textControl)
			}
			i++
			continue
		}
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			return textNotUTF8
		case c == utf8.RuneError:
			return otherFault(s, textReplaced)
		case c < 0xa0:
			return otherFault(s, textControl)
		}
		i += n
	}
	return 0
}

// plainPrefix returns the length of a prefix of whole groups of 8 bytes that are ASCII without control characters: nearly
// every text is, and pods check many.
func plainPrefix(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		del := x ^ 0x7f*ones // a byte of 0 is one of U+007F
		// A borrow goes to higher bytes only, so the lowest byte that is found is always right.
		if (x|(x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 {
			break
		}
	}
	return i
}

// otherFault returns the fault, or that the text is not UTF-8.
func otherFault(s string, f textFault) textFault {
	if !utf8.ValidString(s) {
		return textNotUTF8
	}
	return f
}
