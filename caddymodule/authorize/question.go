package authorize

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Endpoint is where a site asks. It is immutable.
type Endpoint struct {
	URL     string           // absolute, with http or https
	Secrets []backend.Secret // at least one
	Timeout time.Duration    // from Ask to the answer
	Cache   time.Duration    // how long a yes is kept
}

// Question asks whether a user may join a channel.
type Question struct {
	Host    presence.HostName
	Channel string
	User    presence.User
}

// body is the JSON body of a request to the backend.
type body struct {
	Type    string `json:"type"`
	Host    string `json:"host"`
	Channel string `json:"channel"`
	User    user   `json:"user"`
}

type user struct {
	ID    string          `json:"id"`
	Email string          `json:"email"`
	Info  json.RawMessage `json:"info,omitempty"`
}

// encode returns the body of the request.
func (q Question) encode() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body{ // never fails: info is a JSON object
		Type: "authorize", Host: q.Host.String(), Channel: q.Channel,
		User: user{ID: q.User.ID, Email: q.User.Email, Info: json.RawMessage(q.User.Info)},
	})
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// key identifies a question and the URL that is asked.
type key [sha256.Size]byte

// keyOf returns the key. It costs less than to encode the question, because a reload looks for an
// answer for each listener of a host.
func (q *Question) keyOf(to *Endpoint) key {
	var room [512]byte
	b := room[:0]
	for _, text := range [...]string{to.URL, q.Host.String(), q.Channel, q.User.ID, q.User.Email, q.User.Info} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}
