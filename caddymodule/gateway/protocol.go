package gateway

import (
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Protocol is what one client speaks: it turns the messages of the client into calls of its
// [Session]. Package presence answers a join, and tells of members and messages, through the
// encoder that [Protocol.Encoding] names. A protocol holds no connection, channel or user of its
// own.
//
// The methods are called from one goroutine at a time, except for those that say otherwise.
type Protocol interface {
	// Encoding is the encoder of the frames about channels. It never changes. It may be called with
	// locks held.
	Encoding() presence.Encoding
	// Subprotocol returns the subprotocol of a handshake, one that the client offers, or "".
	Subprotocol(r *http.Request) string
	// NewID returns a new ID for the connection.
	NewID() presence.ID
	// Greet queues the first frame. Nothing else is sent or read before.
	Greet(s *Session)
	// Message handles a message of the client. p is valid until it returns. If allowed is false,
	// the client is over its limit of frames.
	Message(s *Session, text bool, p []byte, allowed bool)
	// Joined reports the end of [Session.Enter]. If err is nil, package presence sends the answer.
	// It can be called on another goroutine, after Enter has returned.
	Joined(s *Session, channel, ref string, err error)
	// Left reports the end of a [Session.Leave] that package presence does not answer: it has
	// failed, or it has cancelled a join, and err is nil. It can be called on another goroutine.
	Left(s *Session, channel, ref string, err error)
	// Translator returns the close codes of the protocol in place of those of package socket. It is
	// called from any goroutine.
	socket.Translator
	// Serves reports whether a site still serves the connection after a reload. It is called from
	// any goroutine.
	Serves(of *site.Site) bool
	// KnowsCodesOnly reports whether a close code is all that clients understand of a close: they
	// cannot be told when to come back, so a stop closes them one after the other, and a silent one
	// receives a code. It is called from any goroutine.
	KnowsCodesOnly() bool
}

// Opening is how a websocket is opened.
type Opening struct {
	Host     presence.HostName // host of the connection; the zero value is that of the request
	Protocol Protocol
	// Refusal, if not nil, refuses the connection after the handshake, where a page can see why.
	Refusal *Refusal
}

// Refusal is how a protocol refuses a connection.
type Refusal struct {
	Code   int    // close code of the protocol
	Reason string // at most 123 bytes
	Before []byte // whole frames to send before; nil for none
	Metric string // label of the metric of refused handshakes
}

// Translate implements socket.Translator: it replaces whatever code.
func (r *Refusal) Translate(int, string) (code int, reason string, before []byte) {
	return r.Code, r.Reason, r.Before
}
