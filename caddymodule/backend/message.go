package backend

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Mode is why a message is copied: how the backend takes part in a channel for its sender.
type Mode string

// The modes that copy.
const (
	Listen  Mode = "listen"  // listeners get the message too
	Receive Mode = "receive" // the backend alone gets it
)

// Message is what somebody sent to a channel.
type Message struct {
	Channel    string
	Mode       Mode
	From       *presence.User // nil: an anonymous connection
	Connection presence.ID    // that it came by
	Message    []byte         // a JSON object
	Sent       time.Time
}

// body is what the backend is sent.
type body struct {
	ID         string          `json:"id"`
	Host       string          `json:"host"`
	Channel    string          `json:"channel"`
	Mode       Mode            `json:"mode"`
	From       *from           `json:"from"`
	Connection string          `json:"connection"`
	Message    json.RawMessage `json:"message"`
	Sent       int64           `json:"sent"` // Unix time in milliseconds
}

type from struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// encode makes the body of a request. It is made once, so that it is the same in each attempt.
func (m Message) encode(id string, host presence.HostName) ([]byte, error) {
	b := body{
		ID: id, Host: host.String(), Channel: m.Channel, Mode: m.Mode,
		Connection: m.Connection.String(), Message: m.Message, Sent: m.Sent.UnixMilli(),
	}
	if m.From != nil {
		b.From = &from{ID: m.From.ID, Email: m.From.Email}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil, fmt.Errorf("encoding a copy: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// belongs reports whether a body that encode made has this id and is of this host.
func belongs(body []byte, id string, host presence.HostName) bool {
	return bytes.HasPrefix(body, []byte(`{"id":"`+id+`","host":"`+host.String()+`",`))
}

// newID returns the name of a message, by which a backend knows it again: "msg_" and 128 random bits.
func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead (Go 1.24)
	return "msg_" + base64.RawURLEncoding.EncodeToString(random[:])
}
