package wire

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Code is the stable name of an error, for programs.
type Code string

// The codes of error frames.
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

// Type says what a client asks for.
type Type string

// What clients ask for.
const (
	TypeJoin         Type = "join"
	TypeLeave        Type = "leave"
	TypeAuthenticate Type = "authenticate"
	TypePing         Type = "ping"
)

// Command is one frame from a client.
type Command struct {
	Type    Type
	Ref     string // the frame's id as JSON, to be echoed; "" without one
	Channel string // join and leave
	Watch   presence.Watch
	Token   string // authenticate
}

// Error is a frame that cannot be carried out.
type Error struct {
	Code    Code
	Ref     string // the frame's id as JSON, as far as it could be read
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// maxRef is the longest id in bytes of JSON: it is echoed, and held while a join waits.
const maxRef = 128

// Parse decodes a text frame from a client. Unknown keys are ignored.
//
// An error is an *Error with the code bad_frame, bad_channel or unknown_type.
func Parse(p []byte) (Command, error) {
	if !utf8.Valid(p) {
		return Command{}, &Error{Code: CodeBadFrame, Message: "the frame is not UTF-8"}
	}
	// A value of the wrong type must not hide the id, so the values are decoded one by one. A map, unlike a struct,
	// takes keys in another case for the unknown ones that they are.
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(p, &raw); err != nil || raw == nil {
		return Command{}, &Error{Code: CodeBadFrame, Message: "the frame is not a JSON object"}
	}
	var c Command
	fail := func(code Code, format string, args ...any) (Command, error) {
		return Command{}, &Error{Code: code, Ref: c.Ref, Message: fmt.Sprintf(format, args...)}
	}
	if !c.setRef(raw["id"]) {
		return fail(CodeBadFrame, "id must be a string or a number of at most %d bytes", maxRef)
	}
	var kind, watch string
	if !text(raw["type"], &kind) {
		return fail(CodeBadFrame, "type must be a string")
	}
	switch c.Type = Type(kind); c.Type {
	case TypeJoin, TypeLeave:
		if !text(raw["channel"], &c.Channel) {
			return fail(CodeBadChannel, "channel must be a string")
		}
		if len(raw["presence"]) > 0 && !text(raw["presence"], &watch) {
			return fail(CodeBadFrame, "presence must be a string")
		}
	case TypeAuthenticate:
		if !text(raw["token"], &c.Token) {
			return fail(CodeBadFrame, "token must be a string")
		}
	case TypePing:
	default:
		return fail(CodeUnknownType, "unknown type: use join, leave, authenticate or ping")
	}
	switch watch {
	case "", "none":
	case "count":
		c.Watch = presence.WatchCount
	case "list":
		c.Watch = presence.WatchList
	default:
		return fail(CodeBadFrame, "presence must be list, count or none")
	}
	return c, nil
}

// setRef takes the frame's id if it is a string or a number, or absent.
func (c *Command) setRef(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	if len(raw) > maxRef || (raw[0] != '"' && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) {
		return false
	}
	c.Ref = string(raw)
	return true
}

// text decodes a JSON string. A null is none.
func text(raw json.RawMessage, to *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, to) == nil
}
