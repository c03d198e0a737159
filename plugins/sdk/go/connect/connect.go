// Package connect is the hook that may refuse a login, change the user's info, and open channels.
// Importing it adds the hook to a plugin.
package connect

import (
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/json"
)

// Login is a connection that opens or logs in.
type Login struct {
	Host       string
	Connection string // ID
	// Anonymous is set if the connection has no user. UserID and Email are then empty.
	Anonymous     bool
	UserID, Email string
	// Info is an object, or missing.
	Info rollcall.Value
	// Claims are the payload of the token, an object; missing without a token.
	Claims rollcall.Value
}

// Result is the answer of the hook. The zero value accepts the login as it is.
type Result struct {
	refused        bool
	info, channels string
}

var (
	// Accept accepts a login as it is.
	Accept = Result{}
	// Refuse refuses it.
	Refuse = Result{refused: true}
)

// WithInfo returns a result that also replaces the info of the user: JSON, an object of at most 2 KiB, or
// null. An anonymous connection has none.
func (r Result) WithInfo(object string) Result {
	r.info = object
	return r
}

// WithChannels returns a result that also lets the user join and use the channels that match the
// patterns. The plugin block must say grants.
func (r Result) WithChannels(patterns ...string) Result {
	b := []byte{'['}
	for i, p := range patterns {
		if i > 0 {
			b = append(b, ',')
		}
		b = json.AppendString(b, p)
	}
	return r.WithGrants(string(append(b, ']')))
}

// WithGrants is WithChannels for any form of the token claim, as JSON, such as {"news-*":["see"]}.
func (r Result) WithGrants(channels string) Result {
	r.channels = channels
	return r
}

// Refused reports whether the login is refused, for tests of a plugin.
func (r Result) Refused() bool { return r.refused }

// JSON returns what is sent to Rollcall, for tests of a plugin; "" if the login stays as it is.
func (r Result) JSON() string {
	if r.refused || r.info == "" && r.channels == "" {
		return ""
	}
	object := "{"
	if r.info != "" {
		object += `"info":` + r.info
	}
	if r.channels != "" {
		if r.info != "" {
			object += ","
		}
		object += `"channels":` + r.channels
	}
	return object + "}"
}

// Handle sets the function that is called at each handshake and each login, after Rollcall's own checks.
func Handle(f func(l *Login) Result) { handler = f }

var handler func(l *Login) Result

func call(input []byte) (Result, error) {
	if handler == nil {
		return Refuse, errors.New("connect is imported, but connect.Handle was not called")
	}
	v, err := rollcall.ParseJSON(input)
	if err != nil {
		return Refuse, err
	}
	user := v.Get("user")
	l := Login{
		Host: v.Get("host").Text(), Connection: v.Get("connection").Text(), Anonymous: !user.IsObject(),
		UserID: user.Get("id").Text(), Email: user.Get("email").Text(), Info: object(user.Get("info")), Claims: object(v.Get("claims")),
	}
	if l.Connection == "" {
		return Refuse, errors.New("connect: the login has no connection")
	}
	return handler(&l), nil
}

// object returns v, or a missing value for null.
func object(v rollcall.Value) rollcall.Value {
	if v.IsObject() {
		return v
	}
	return rollcall.Value{}
}
