package presence

import (
	"errors"
	"fmt"
)

// Errors of joining, leaving and sending.
var (
	// ErrBadChannel is returned for a channel name that is empty, too long or not UTF-8, or that
	// contains a control character or U+FFFD.
	ErrBadChannel = errors.New("bad channel name")
	// ErrReservedChannel is returned for a channel name that begins with PrivatePrefix, or with
	// SignedPrefix if the rules are Signed.
	ErrReservedChannel = errors.New("names that begin with " + PrivatePrefix + " are reserved")
	errReservedSign    = &reservedError{}
	// ErrLoginRequired is returned when an anonymous connection joins an authenticated channel.
	ErrLoginRequired = errors.New("log in first: this channel is for authenticated users")
	// ErrDenied is returned when the class denies all joins, or the authorizer refuses the user.
	ErrDenied = errors.New("this channel cannot be joined")
	// ErrGrantNeeded is returned when only a grant is missing, and [Rules].Kept may have one later.
	// It is an ErrDenied, too.
	ErrGrantNeeded error = &missingError{errMayNotJoin.text}
	// ErrTooManyChannels is returned when the connection or the host has as many channels as its
	// rules allow.
	ErrTooManyChannels = errors.New("too many channels")
	// ErrTooManyMembers is returned when a channel has as many members as [Entry].MaxMembers
	// allows.
	ErrTooManyMembers = errors.New("the channel has too many members")
	// ErrUnavailable wraps the error of a classifier or an authorizer that failed. The same join
	// may succeed later.
	ErrUnavailable = errors.New("the channel cannot be joined now, try again later")
	// ErrNotJoined is returned when a connection leaves, or sends to, a channel that it has not
	// joined.
	ErrNotJoined = errors.New("not joined")
	// ErrTooLarge is returned for a message over [MaxMessage], for over [MaxTargets] channels, and
	// for over 1 MiB in all channels together.
	ErrTooLarge = errors.New("the message is too large")
	// ErrBusy is returned when too many bytes of messages wait to be delivered.
	ErrBusy = errors.New("messages come faster than they can be delivered")
	// ErrClosed is returned after the connection was closed.
	ErrClosed = errors.New("the connection is closed")
)

var (
	errMayNotJoin       = &missingError{"the permission join is missing: the user has no grant for this channel"}
	errNotOwner         = &missingError{"the permission join is missing: only the user in its name may join this channel"}
	errMayNotSee        = &missingError{"the permission see is missing: join this channel without presence"}
	errOwn              = errors.New("only the user in its name joins this channel, without an assignment")
	errNoStatus         = fmt.Errorf("%w: this site shows no status", ErrDenied)
	errNotAuthenticated = errors.New("users can be assigned to authenticated channels only")
	errTo               = errors.New("a message to the connections that are signed in as a user has only this user")
	errBadHost          = errors.New("not a host name")
	errTooManyConns     = errors.New("too many connections on this host")

	// errReplaced is returned for a channel name with U+FFFD. Decoders replace half surrogate pairs
	// and invalid UTF-8 by it, so two different names would become one channel.
	errReplaced = fmt.Errorf("%w: it has U+FFFD or half a surrogate pair", ErrBadChannel)

	// errDropped is returned when the host has lost its last connection and is no longer in the
	// registry.
	errDropped = errors.New("host dropped")
)

// reservedError is an ErrReservedChannel for the names that are reserved with Rules.Signed.
type reservedError struct{}

func (*reservedError) Error() string {
	return "names that begin with " + SignedPrefix + " are reserved"
}

// Is reports whether target is ErrReservedChannel.
func (*reservedError) Is(target error) bool { return target == ErrReservedChannel }

// missingError is an ErrDenied that names the missing permission.
type missingError struct{ text string }

func (e *missingError) Error() string { return e.text }

// Is reports whether target is ErrDenied.
func (e *missingError) Is(target error) bool { return target == ErrDenied }

func errMayNotSend(channel string) error {
	return &missingError{fmt.Sprintf("the permission send is missing in channel %q", channel)}
}
