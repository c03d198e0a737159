package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Door is the address at which clients of a site connect.
type Door struct {
	URL  string // of the socket, with ws or wss
	Host string
	// Dial connects. If nil, TCP to the host of the URL is used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is a lean websocket client: one goroutine and small buffers. Its methods must not be
// called concurrently.
type Client struct {
	ID   string // ID of the connection
	conn *websocket.Conn
	refs int

	// mu guards the fields below.
	mu      sync.Mutex
	views   map[string]*View
	waiting map[string]chan frame // channels for answers, by id
	// Ended is closed with the connection; then End returns the reason.
	Ended chan struct{}
	End   error
}

// writeBuffers are shared by all clients, because most of them rarely write.
var writeBuffers sync.Pool

// Connect opens a connection with a token, or an anonymous one if it is "", and returns after the
// welcome.
func Connect(d Door, token string) (*Client, error) {
	dialer := websocket.Dialer{
		NetDialContext: d.Dial, HandshakeTimeout: ws.Patience, Subprotocols: []string{ws.Subprotocol},
		ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &writeBuffers,
	}
	header := http.Header{"Host": {d.Host}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	conn, resp, err := dialer.Dial(d.URL, header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, err
	}
	var welcome ws.Welcome
	_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
	if err := conn.ReadJSON(&welcome); err != nil || welcome.Type != "welcome" {
		_ = conn.Close()
		return nil, fmt.Errorf("the first frame is %+v, want a welcome (%w)", welcome, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	c := &Client{
		ID: welcome.Connection, conn: conn,
		views: make(map[string]*View), waiting: make(map[string]chan frame), Ended: make(chan struct{}),
	}
	go c.read()
	return c, nil
}

// read ends with the connection.
func (c *Client) read() {
	defer close(c.Ended)
	defer c.conn.Close()
	for {
		_, p, err := c.conn.ReadMessage()
		if err != nil {
			c.End = err
			return
		}
		var f frame
		if err := json.Unmarshal(p, &f); err != nil {
			c.End = fmt.Errorf("a frame is not as it should be: %w: %.200s", err, p)
			return
		}
		c.handle(&f)
	}
}

func (c *Client) handle(f *frame) {
	c.mu.Lock()
	view := c.views[f.Channel]
	waiting := c.waiting[string(f.ID)]
	delete(c.waiting, string(f.ID))
	c.mu.Unlock()
	if view != nil && (f.Type == "joined" || f.Type == "presence") {
		view.apply(f)
	}
	if waiting != nil {
		waiting <- *f
	}
}

// errEnded is returned if the connection ends before the answer comes.
var errEnded = errors.New("the connection has ended")

// RefusedError is returned for a command whose answer is another frame than it should be, most
// often of type error.
type RefusedError struct{ Command, Type, Code string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s was answered with %s %s", e.Command, e.Type, e.Code)
}

// do sends a command, with the given keys and an id, and waits for the answer.
func (c *Client) do(command, want string) error {
	c.refs++
	ref := strconv.Itoa(c.refs)
	answer := make(chan frame, 1)
	c.mu.Lock()
	c.waiting[ref] = answer
	c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(ws.Patience))
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(`{"id":`+ref+`,`+command+`}`)); err != nil {
		return fmt.Errorf("sending %s: %w", command, err)
	}
	patience := time.NewTimer(ws.Patience)
	defer patience.Stop()
	select {
	case f := <-answer:
		if f.Type != want {
			return &RefusedError{Command: command, Type: f.Type, Code: f.Code}
		}
		return nil
	case <-c.Ended:
		return fmt.Errorf("%w: %w", errEnded, c.End)
	case <-patience.C:
		return fmt.Errorf("%s has no answer after %s", command, ws.Patience)
	}
}

// Join makes the client a listener.
func (c *Client) Join(channel string) error {
	return c.do(fmt.Sprintf(`"type":"join","channel":%q`, channel), "joined")
}

// Watch makes the client a listener that watches the members, if the channel lists names, and
// otherwise the count.
func (c *Client) Watch(channel string, v *View) error {
	c.mu.Lock()
	c.views[channel] = v
	c.mu.Unlock()
	return c.do(fmt.Sprintf(`"type":"join","channel":%q,"presence":"list"`, channel), "joined")
}

// Leave leaves a channel.
func (c *Client) Leave(channel string) error {
	return c.do(fmt.Sprintf(`"type":"leave","channel":%q`, channel), "left")
}

// Authenticate logs in as the token's user.
func (c *Client) Authenticate(token string) error {
	return c.do(fmt.Sprintf(`"type":"authenticate","token":%q`, token), "authenticated")
}

// Send sends a message, a JSON object, to a channel that the client has joined.
func (c *Client) Send(channel, message string) error {
	return c.do(fmt.Sprintf(`"type":"send","channels":[%q],"message":%s`, channel, message), "sent")
}

// Ping sends a ping and waits for the answer.
func (c *Client) Ping() error { return c.do(`"type":"ping"`, "pong") }

// Close sends a close frame and waits for the server's.
func (c *Client) Close() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(ws.Patience))
	patience := time.NewTimer(ws.Patience)
	defer patience.Stop()
	select {
	case <-c.Ended:
	case <-patience.C:
		c.Cut()
	}
}

// Cut ends the connection without a close frame.
func (c *Client) Cut() {
	_ = c.conn.Close()
	<-c.Ended
}
