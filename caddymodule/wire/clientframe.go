package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/internal/rawjson"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Code is the stable name of an error, for programs.
type Code string

// Codes of error frames.
const (
	CodeBadFrame        Code = "bad_frame"
	CodeUnknownType     Code = "unknown_type"
	CodeBadChannel      Code = "bad_channel"
	CodeReservedChannel Code = "reserved_channel"
	CodeLoginRequired   Code = "login_required"
	CodeDenied          Code = "denied"
	CodeNotJoined       Code = "not_joined"
	CodeBadToken        Code = "bad_token"
	CodeTooManyChannels Code = "too_many_channels"
	CodeRateLimited     Code = "rate_limited"
	CodeTooLarge        Code = "too_large"
	CodeUnavailable     Code = "unavailable"
)

// Type is the type of a frame from a client.
type Type string

// Types of frames from clients.
const (
	TypeJoin         Type = "join"
	TypeLeave        Type = "leave"
	TypeAuthenticate Type = "authenticate"
	TypeSend         Type = "send"
	TypeStatus       Type = "status"
	TypePing         Type = "ping"
)

// Command is one frame from a client.
type Command struct {
	Type    Type
	Ref     string         // the frame's id as JSON, to be echoed; "" if none
	Channel string         // for join and leave
	Watch   presence.Watch // for join
	Token   string         // for authenticate

	Channels []string // for send: 1 to MaxChannels names, not validated
	Message  []byte   // for send: a JSON object as received, valid as long as the parsed bytes
	NoEcho   bool     // for send: the connection does not receive the message itself

	Status string // for status: a JSON object in compact form; "" for null
}

// MaxChannels is the maximum number of channels of one send.
const MaxChannels = presence.MaxTargets

// Error is the reason that a frame is refused.
type Error struct {
	Code    Code
	Ref     string // the frame's id as JSON; "" if none, or if it could not be read
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// maxRef is the maximum length of an id in bytes of JSON: it is echoed, and kept while a join is
// unanswered.
const maxRef = 128

// Parse decodes a text frame from a client. Unknown keys are ignored.
//
// An error is an *Error with the code bad_frame, bad_channel, too_large or unknown_type.
func Parse(p []byte) (Command, error) {
	if !utf8.Valid(p) {
		return refuse("", CodeBadFrame, "the frame is not UTF-8")
	}
	raw, ok := parseFields(p)
	if !ok {
		return refuse("", CodeBadFrame, "the frame is not a JSON object")
	}
	var c Command
	if !c.setRef(raw.id) {
		return refuse("", CodeBadFrame, fmt.Sprintf("id must be a string or a number of at most %d bytes", maxRef))
	}
	kind, ok := rawjson.Text(raw.kind)
	if !ok {
		return refuse(c.Ref, CodeBadFrame, "type must be a string")
	}
	watch := "none"
	switch c.Type = Type(kind); c.Type {
	case TypeJoin, TypeLeave:
		if c.Channel, ok = rawjson.Text(raw.channel); !ok {
			return refuse(c.Ref, CodeBadChannel, "channel must be a string")
		}
		if len(raw.presence) > 0 {
			if watch, ok = rawjson.Text(raw.presence); !ok {
				return refuse(c.Ref, CodeBadFrame, "presence must be a string")
			}
		}
	case TypeAuthenticate:
		if c.Token, ok = rawjson.Text(raw.token); !ok {
			return refuse(c.Ref, CodeBadFrame, "token must be a string")
		}
	case TypeSend:
		c.Channels, ok = texts(raw.channels, MaxChannels)
		if !ok || len(c.Channels) == 0 {
			return refuse(c.Ref, CodeBadFrame, fmt.Sprintf("channels must be an array of 1 to %d strings", MaxChannels))
		}
		if len(raw.message) == 0 || raw.message[0] != '{' {
			return refuse(c.Ref, CodeBadFrame, "message must be an object")
		}
		c.Message = raw.message
		switch string(raw.echo) {
		case "", "true":
		case "false":
			c.NoEcho = true
		default:
			return refuse(c.Ref, CodeBadFrame, "echo must be true or false")
		}
	case TypeStatus:
		if string(raw.status) == "null" {
			break
		}
		status, err := presence.CompactStatus(raw.status)
		switch {
		case errors.Is(err, presence.ErrStatusTooLarge):
			return refuse(c.Ref, CodeTooLarge, "the status "+err.Error())
		case err != nil:
			return refuse(c.Ref, CodeBadFrame, "status must be an object or null")
		}
		c.Status = status
	case TypePing:
	default:
		return refuse(c.Ref, CodeUnknownType, "unknown type: use join, leave, authenticate, send, status or ping")
	}
	switch watch {
	case "none":
	case "count":
		c.Watch = presence.WatchCount
	case "list":
		c.Watch = presence.WatchList
	default:
		return refuse(c.Ref, CodeBadFrame, "presence must be list, count or none")
	}
	return c, nil
}

func refuse(ref string, code Code, message string) (Command, error) {
	return Command{}, &Error{Code: code, Ref: ref, Message: message}
}

// setRef sets the frame's id. It reports false if that is neither a string, a number nor absent, or
// too long.
func (c *Command) setRef(raw []byte) bool {
	if len(raw) == 0 {
		return true
	}
	if len(raw) > maxRef || (raw[0] != '"' && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) {
		return false
	}
	c.Ref = string(raw)
	return true
}
