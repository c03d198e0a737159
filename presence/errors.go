package presence

import (
	"errors"
	"fmt"
)

// Errors of joining and leaving channels.
var (
	// ErrBadChannel is returned for a name that is empty, too long or not UTF-8, or has control
	// characters or U+FFFD.
	ErrBadChannel = errors.New("bad channel name")
	// ErrReservedChannel is returned for a name that begins with PrivatePrefix.
	ErrReservedChannel = errors.New("names that begin with " + PrivatePrefix + " are reserved")
	// ErrLoginRequired is returned when an anonymous connection joins an authenticated channel.
	ErrLoginRequired = errors.New("log in first: this channel is for authenticated users")
	// ErrDenied is returned when the channel's class lets nobody join, or the authorizer refuses
	// this user.
	ErrDenied = errors.New("this channel cannot be joined")
	// ErrTooManyChannels is returned when the connection has joined as many channels as its rules
	// allow, or when the channel is not active and the host has as many active channels as its
	// rules allow.
	ErrTooManyChannels = errors.New("too many channels")
	// errNotAuthenticated is returned when users are assigned to a channel that is not
	// authenticated.
	errNotAuthenticated = errors.New("users can be assigned to authenticated channels only")
	// ErrNotJoined is returned when a connection leaves, or sends to, a channel that it does not
	// listen to.
	ErrNotJoined = errors.New("not joined")
	// ErrUnavailable wraps the error of a classifier or an authorizer that failed.
	ErrUnavailable = errors.New("the channel cannot be joined now, try again later")
)

// Errors of sending messages.
var (
	// ErrTooLarge is returned for more than [MaxMessage] or [MaxTargets], or a mebibyte in all channels together.
	ErrTooLarge = errors.New("the message is too large")
	// ErrBusy is returned when messages come faster than they can be delivered: too many bytes wait
	// already.
	ErrBusy = errors.New("messages come faster than they can be delivered")
)

// Errors of connections and hosts.
var (
	// errBadHost is returned for a text that is not a domain host.
	errBadHost = errors.New("not a domain host")
	// errTooManyConns is returned when a host has as many connections as its rules allow.
	errTooManyConns = errors.New("too many connections on this host")
	// ErrClosed is returned when the connection is closed.
	ErrClosed = errors.New("the connection is closed")
)

// errReplaced is returned for a name with U+FFFD. Decoders replace half surrogate pairs and bytes
// that are not UTF-8 by it, so two different names would become one channel.
var errReplaced = fmt.Errorf("%w: it has U+FFFD or half a surrogate pair", ErrBadChannel)

// errDropped is returned when the host lost its last connection and is no longer in the registry.
var errDropped = errors.New("host dropped")
