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

// Mode is the backend's role in a channel for the sender of a message.
type Mode string

// Modes with a copy for the backend.
const (
	Listen  Mode = "listen"  // listeners get the message, too
	Receive Mode = "receive" // only the backend gets it
)

// Message is a message that a connection sent to a channel.
type Message struct {
	Channel    string
	Mode       Mode
	From       *presence.User // nil if the connection is anonymous
	Connection presence.ID    // the sender
	Message    []byte         // JSON object
	Sent       time.Time
}

// body is the JSON body of a request to the backend.
type body struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
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

// encode returns the body of a request. It is called once, so that all attempts have the same body.
func (m Message) encode(id string, host presence.HostName) ([]byte, error) {
	b := body{
		ID: id, Type: "message", Host: host.String(), Channel: m.Channel, Mode: m.Mode,
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

// belongs reports whether a body begins with this id, perhaps a type, and this host.
func belongs(body []byte, id string, host presence.HostName) bool {
	rest, ok := bytes.CutPrefix(body, []byte(`{"id":"`+id+`",`))
	if after, typed := bytes.CutPrefix(rest, []byte(`"type":"`)); typed {
		_, rest, _ = bytes.Cut(after, []byte(`",`))
	}
	return ok && bytes.HasPrefix(rest, []byte(`"host":"`+host.String()+`",`))
}

// NewID returns the ID of a request, by which a backend recognizes repetitions: "msg_" and 128
// random bits.
func NewID() string { return "msg_" + randomText() }

// NewEventID is like NewID for an event: "evt_" and 128 random bits.
func NewEventID() string { return "evt_" + randomText() }

func randomText() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(random[:])
}
