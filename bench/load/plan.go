package load

// Plan describes how a connection is opened. A plan is never changed, and may be shared.
type Plan struct {
	// Address is HOST:PORT, with an IPv4 address.
	Address string
	// Path is the path of the websocket. If empty, there is no handshake: the server sends frames
	// at once.
	Path string
	// Host and Header are part of the handshake; Header consists of whole lines, each with its
	// CRLF.
	Host, Header string
	// Steps are done in order after the handshake. The connection is ready after the last.
	Steps []Step
	// Ping is a text frame of the server, or a line of one, that must be answered with Pong, in
	// addition to the pings of RFC 6455.
	Ping, Pong string
}

// Step awaits a frame and then sends one.
type Step struct {
	Await string // start of the frame; "" does not wait
	Send  string // "" sends nothing
	// Answer returns the frame to send, instead of Send, from the one that was awaited; nil: Send.
	Answer func(frame []byte) string
}

// handshake returns the request for a websocket (RFC 6455 section 4.1). The key is that of the
// RFC's example: servers do not store it.
func (p *Plan) handshake() string {
	return "GET " + p.Path + " HTTP/1.1\r\nHost: " + p.Host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + p.Header + "\r\n"
}
