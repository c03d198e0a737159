// Package message is the hook that may refuse or replace a message before it is sent. Importing it adds
// the hook to a plugin.
package message

import (
	"encoding/binary"
	"errors"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/arena"
)

// Message is a message to one channel, and who sends it. It is valid during the call, its texts forever.
type Message struct {
	// Request has the channel and the sender. UserID and Email are empty for an anonymous connection and
	// for the backend; Anonymous is set only for the former.
	rollcall.Request
	// Backend is set if a backend sends the message.
	Backend bool
	// Connection is the ID of the sender's connection, "" for the backend.
	Connection string

	raw    []byte
	value  rollcall.Value
	parsed bool
	err    error
}

// New returns a message of a user as Rollcall creates it, for tests of a plugin.
func New(channel, user, object string) *Message {
	return &Message{Request: rollcall.Request{Channel: channel, UserID: user, Anonymous: user == ""}, raw: []byte(object)}
}

// JSON returns the message as it was sent, an object. It is valid during the call.
func (m *Message) JSON() []byte { return m.raw }

// Value returns the message, an object. If it is nested more than 64 deep, the value is missing and the
// hook fails.
func (m *Message) Value() rollcall.Value {
	if !m.parsed {
		m.parsed = true
		m.value, m.err = rollcall.ParseJSON(m.raw)
	}
	return m.value
}

// Text returns the text of a name in the message, with escapes resolved.
func (m *Message) Text(name string) string { return m.Value().Get(name).Text() }

// Result is the answer of the hook. The zero value sends the message as it is.
type Result struct {
	refused bool
	object  []byte
}

var (
	// Send sends the message as it is.
	Send = Result{}
	// Refuse refuses it for all of its channels.
	Refuse = Result{refused: true}
)

// Replace sends another message to this channel: JSON, an object.
func Replace(object []byte) Result { return Result{object: object} }

// WithText sends the message with the text of a name replaced, or added.
func (m *Message) WithText(name, text string) Result { return Replace(m.Value().WithText(name, text)) }

// Refused reports whether the message is refused, for tests of a plugin.
func (r Result) Refused() bool { return r.refused }

// JSON returns the message that is sent instead, for tests of a plugin; nil if it stays.
func (r Result) JSON() []byte { return r.object }

// Handle sets the function that is called for each message and channel, after Rollcall's own checks.
func Handle(f func(m *Message) Result) { handler = f }

var (
	handler func(m *Message) Result
	current Message
)

var errCut = errors.New("message: the input is shorter than its lengths")

const (
	header        = 16 // bytes, of a request
	flagBackend   = 1 << 1
	tagConnection = 1
)

func call(input []byte) (Result, error) {
	if handler == nil {
		return Refuse, errors.New("message is imported, but message.Handle was not called")
	}
	if len(input) < 4 || uint64(binary.LittleEndian.Uint32(input)) > uint64(len(input)-4) {
		return Refuse, errCut
	}
	size := 4 + int(binary.LittleEndian.Uint32(input))
	request := input[4:size]
	m := &current
	*m = Message{raw: input[size:]}
	if err := m.UnmarshalBinary(request); err != nil {
		return Refuse, err
	}
	m.Backend = binary.LittleEndian.Uint16(request[2:])&flagBackend != 0
	m.Connection = connection(request[len(request)-int(binary.LittleEndian.Uint32(request[header-4:])):])
	r := handler(m)
	if m.err != nil {
		return Refuse, m.err
	}
	return r, nil
}

// connection returns the ID of the sender's connection, which is in the extension of a request.
func connection(extension []byte) string {
	for len(extension) >= 4 {
		tag, size := binary.LittleEndian.Uint16(extension), int(binary.LittleEndian.Uint16(extension[2:]))
		if size > len(extension)-4 {
			break
		}
		if tag == tagConnection {
			return arena.String(extension[4 : 4+size])
		}
		extension = extension[4+size:]
	}
	return ""
}
