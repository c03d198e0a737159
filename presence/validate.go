package presence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Limits of texts, in bytes. Pods refuse longer texts from each other.
const (
	MaxUserID      = 256
	MaxInfo        = 2048
	MaxStatus      = 512
	MaxEmail       = 320     // RFC 5321 allows 64+1+255
	MaxShown       = 4 << 10 // each text of a [Shown]
	MaxChannelName = 4096
)

// Errors for JSON objects over their limit.
var (
	ErrInfoTooLarge   = fmt.Errorf("is longer than %d bytes", MaxInfo)
	ErrStatusTooLarge = fmt.Errorf("is longer than %d bytes", MaxStatus)
)

// CheckUserID returns nil if a user can have the ID: 1 to MaxUserID bytes of UTF-8, without control
// characters (U+0000 to U+001F, U+007F to U+009F) and without U+FFFD, which decoders substitute for
// invalid text. [Registry.Connect] does not validate IDs and e-mail addresses.
func CheckUserID(id string) error {
	if id == "" {
		return errors.New("is empty")
	}
	return checkText(id, MaxUserID).user(MaxUserID)
}

// CheckEmail returns nil if a user can have the e-mail address: "", or at most MaxEmail bytes that
// an ID may have.
func CheckEmail(email string) error { return checkText(email, MaxEmail).user(MaxEmail) }

// CompactInfo returns the form of [User].Info for a JSON object: without white space between its
// tokens, at most MaxInfo bytes. It returns ErrInfoTooLarge, or another error for what is no JSON
// object.
func CompactInfo(object []byte) (string, error) {
	return compactObject(object, MaxInfo, ErrInfoTooLarge)
}

// EncodeInfo returns the form of [User].Info for a value that encodes as a JSON object, with the
// errors of [CompactInfo].
func EncodeInfo(object any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "<" counts as one byte of MaxInfo, not six
	if err := e.Encode(object); err != nil {
		return "", err
	}
	return CompactInfo(b.Bytes())
}

// CompactStatus returns the form of a user's status for a JSON object: without white space between
// its tokens, at most MaxStatus bytes. It returns ErrStatusTooLarge, or another error for what is
// no JSON object.
func CompactStatus(object []byte) (string, error) {
	return compactObject(object, MaxStatus, ErrStatusTooLarge)
}

func compactObject(object []byte, limit int, tooLarge error) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, object); err != nil || b.Bytes()[0] != '{' || !utf8.Valid(b.Bytes()) {
		return "", errors.New("is not a JSON object")
	}
	if b.Len() > limit {
		return "", tooLarge
	}
	return b.String(), nil
}

// CheckUser returns nil if a user can have the ID, the e-mail address and the info.
func CheckUser(u User) error {
	if err := CheckUserID(u.ID); err != nil {
		return fmt.Errorf("the id %w", err)
	}
	if err := CheckEmail(u.Email); err != nil {
		return fmt.Errorf("the e-mail address %w", err)
	}
	if u.Info != "" {
		if compact, err := CompactInfo([]byte(u.Info)); err != nil || compact != u.Info {
			return fmt.Errorf("the info %w", cmp.Or(err, errors.New("has white space")))
		}
	}
	return nil
}

// CheckIdentityInfo returns nil if an [Identity] can have the info: "", or any JSON value of at
// most MaxInfo bytes of UTF-8. Otherwise it returns ErrInfoTooLarge, or another error.
func CheckIdentityInfo(info string) error {
	switch {
	case info == "":
		return nil
	case len(info) > MaxInfo:
		return ErrInfoTooLarge
	case !utf8.ValidString(info) || !json.Valid([]byte(info)):
		return errors.New("is not a JSON value")
	}
	return nil
}

// CheckIdentity returns nil if a connection can count as the identity in a channel.
func CheckIdentity(as Identity) error {
	if err := CheckUser(User{ID: as.ID, Email: as.Email}); err != nil {
		return err
	}
	if err := CheckIdentityInfo(as.Info); err != nil {
		return fmt.Errorf("the info %w", err)
	}
	return nil
}

// CheckChannel returns nil if a channel can have the name, private channels included: 1 to
// MaxChannelName bytes that a user's ID may have. Otherwise it returns ErrBadChannel. The [Rules]
// of a host can allow less.
func CheckChannel(name string) error { return checkChannel(name, MaxChannelName) }

func checkChannel(name string, limit int) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrBadChannel)
	}
	switch checkText(name, limit) {
	case textTooLong:
		return fmt.Errorf("%w: it has more than %d bytes", ErrBadChannel, limit)
	case textNotUTF8:
		return fmt.Errorf("%w: it is not UTF-8", ErrBadChannel)
	case textReplaced:
		return errReplaced
	case textControl:
		return fmt.Errorf("%w: it has a control character", ErrBadChannel)
	}
	return nil
}

// textFault is why a text is invalid; 0 if it is valid.
type textFault int

const (
	textTooLong textFault = iota + 1
	textNotUTF8
	textReplaced // contains U+FFFD
	textControl
)

// user returns the fault as an error about a user's ID or address.
func (f textFault) user(limit int) error {
	switch f {
	case textTooLong:
		return fmt.Errorf("is longer than %d bytes", limit)
	case textNotUTF8, textReplaced:
		return errors.New("is not valid UTF-8")
	case textControl:
		return errors.New("has control characters")
	}
	return nil
}

// checkText returns the first fault of a text of at most limit bytes.
func checkText(s string, limit int) textFault {
	if len(s) > limit {
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

// plainPrefix returns the length of the longest prefix that consists of groups of 8 bytes of ASCII
// without control characters. Nearly all texts have one, and pods validate many texts.
func plainPrefix(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		del := x ^ 0x7f*ones // a byte is 0 if it was U+007F
		// A borrow affects only higher bytes, so the lowest match is right.
		if (x|(x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 {
			break
		}
	}
	return i
}

// otherFault returns f, or textNotUTF8 if the text is not UTF-8.
func otherFault(s string, f textFault) textFault {
	if !utf8.ValidString(s) {
		return textNotUTF8
	}
	return f
}
