package load

// Plan says how a connection is opened. Plans are only read, and may be shared.
type Plan struct {
	// Address is HOST:PORT, an IPv4 address.
	Address string
	// Path is that of the websocket. Without one there is no handshake: the server speaks in frames at once.
	Path string
	// Host and Header go into the handshake; Header is whole lines, each with its CRLF.
	Host, Header string
	// Steps are done in order once the handshake is. The connection is ready after the last.
	Steps []Step
	// Ping is a text frame of the server that has to be answered with Pong, beside the pings of RFC 6455.
	Ping, Pong string
}

// Step awaits a frame and then sends one.
type Step struct {
	Await string // how the frame begins; "" does not wait
	Send  string // "" sends nothing
}

// handshake is the request for a websocket (RFC 6455 section 4.1). The key is the one of its example: servers do not keep it.
func (p *Plan) handshake() string {
	return "GET " + p.Path + " HTTP/1.1\r\nHost: " + p.Host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + p.Header + "\r\n"
}
