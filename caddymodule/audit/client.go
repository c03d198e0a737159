package audit

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// patience is the maximum time of a handshake, a request and a command.
	patience = 10 * time.Second
	// maxFrame is the maximum size of a frame in bytes. That of a join lists all members of a
	// channel.
	maxFrame = 16 << 20
	// pingEvery is the time between two signs of life of a connection.
	pingEvery = 500 * time.Millisecond
)

// frame has the fields of the server's frames that matter here.
type frame struct {
	Type       string   `json:"type"`
	ID         string   `json:"id"`
	Connection string   `json:"connection"`
	Channel    string   `json:"channel"`
	Code       string   `json:"code"`
	Message    body     `json:"message"`
	Members    []person `json:"members"`
	Joined     []person `json:"joined"`
	Left       []person `json:"left"`
	Names      *bool    `json:"names"`
}

type person struct {
	ID string `json:"id"`
}

// body is a message of the audit. That of an error frame is a text, and is ignored.
type body struct {
	Run    string `json:"audit"`
	Sender string `json:"sender"`
	N      uint64 `json:"n"`
}

// UnmarshalJSON ignores what is no message of an audit.
func (b *body) UnmarshalJSON(p []byte) error {
	type plain body
	_ = json.Unmarshal(p, (*plain)(b))
	return nil
}

// client is a connection to a pod. Its methods may be called from one goroutine at a time.
type client struct {
	id      string // ID of the connection
	conn    *websocket.Conn
	stay    *stay
	receive func(f *frame) // called for each frame, in order; may be nil

	writing sync.Mutex

	// mu guards the fields below.
	mu      sync.Mutex
	refs    int
	waiting map[string]chan frame
	ended   chan struct{} // closed with the connection; then err is its end
	err     error
}

// errRefused is returned for a command that is answered with an error frame.
var errRefused = errors.New("refused")

// errLogin and errJoin say how far a user came who did not join a channel.
var (
	errLogin = errors.New("logging in")
	errJoin  = errors.New("joining")
)

// connect opens a connection of a user, and records its stay. The error is errLogin if the pod was
// reached and refuses the user.
func (a *Audit) connect(ctx context.Context, pod int, user string, receive func(f *frame)) (*client, error) {
	p := a.Pods[pod]
	dialer := websocket.Dialer{
		HandshakeTimeout: patience, Subprotocols: []string{"rollcall.v1"}, ReadBufferSize: 1024, WriteBufferSize: 512,
		TLSClientConfig: a.tls(), NetDialContext: p.Dial,
	}
	token, err := a.Token(user)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLogin, err)
	}
	url := "ws" + strings.TrimPrefix(strings.TrimSuffix(p.URL, "/"), "http") + a.Prefix + "/socket"
	s := a.stays.begin(time.Now(), "", pod, user, nil)
	conn, resp, err := dialer.DialContext(ctx, url, http.Header{"Host": {a.Host}, "Authorization": {"Bearer " + token}})
	if err != nil {
		within := settle
		if isTimeout(err) {
			within = silence // the pod may still accept it
		}
		s.left(time.Now(), within)
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
			if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
				err = fmt.Errorf("%w: %w", errLogin, err)
			}
		}
		return nil, err
	}
	c := &client{conn: conn, stay: s, receive: receive, waiting: make(map[string]chan frame), ended: make(chan struct{})}
	conn.SetReadLimit(maxFrame)
	var welcome frame
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if err := conn.ReadJSON(&welcome); err != nil || welcome.Type != "welcome" {
		_ = conn.Close()
		s.left(time.Now(), settle)
		why := fmt.Errorf("the first frame is %q, want a welcome: %w", welcome.Type, cmp.Or(err, errRefused))
		if isStayAway(err) {
			why = fmt.Errorf("%w: %w", errLogin, why)
		}
		return nil, why
	}
	c.id = welcome.Connection
	s.arrived(time.Now())
	go c.read() // ends with the connection
	go c.live() // ends with the connection
	return c, nil
}

// tls returns the configuration for pods with https: the certificate is that of the host.
func (a *Audit) tls() *tls.Config {
	name := a.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
}

func (c *client) read() {
	within := settle
	defer func() {
		_ = c.conn.Close()
		c.stay.left(time.Now(), within)
		close(c.ended)
	}()
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(silence))
		_, p, err := c.conn.ReadMessage()
		if err != nil {
			if isTimeout(err) {
				within = silence // the pod may not have noticed
			}
			c.err = err
			return
		}
		var f frame
		if err := json.Unmarshal(p, &f); err != nil {
			c.err = fmt.Errorf("a frame is not as it should be: %w: %.200q", err, p)
			return
		}
		c.mu.Lock()
		waiting := c.waiting[f.ID]
		delete(c.waiting, f.ID)
		c.mu.Unlock()
		if c.receive != nil {
			c.receive(&f)
		}
		if waiting != nil {
			waiting <- f
		}
	}
}

// live sends pings. An answer shows that the connection was open when the ping was sent.
func (c *client) live() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		sent := time.Now()
		if _, err := c.do(`"type":"ping"`); err == nil {
			c.stay.lives(sent)
		}
	}
}

// do sends a command and waits for its answer.
func (c *client) do(command string) (frame, error) {
	answer := make(chan frame, 1)
	c.mu.Lock()
	c.refs++
	ref := strconv.Itoa(c.refs)
	c.waiting[ref] = answer
	c.mu.Unlock()
	if err := c.write(`{"id":"` + ref + `",` + command + `}`); err != nil {
		return frame{}, err
	}
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	select {
	case f := <-answer:
		if f.Type == "error" {
			return f, fmt.Errorf("%w: %s", errRefused, f.Code)
		}
		return f, nil
	case <-c.ended:
		return frame{}, fmt.Errorf("the connection has ended: %w", c.err)
	case <-timer.C:
		return frame{}, errors.New("no answer")
	}
}

func (c *client) write(text string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	return c.conn.WriteMessage(websocket.TextMessage, []byte(text))
}

// close ends the connection, and waits until the server has confirmed it.
func (c *client) close() {
	c.stay.leaving(time.Now())
	_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		c.stay.left(time.Now(), silence)
		_ = c.conn.Close()
		<-c.ended
	}
}

// isStayAway reports whether an error is a close with a code by which clients must stay away, as if
// a plugin refuses a user.
func isStayAway(err error) bool {
	const first, last = 4000, 4099
	closed, ok := errors.AsType[*websocket.CloseError](err)
	return ok && closed.Code >= first && closed.Code <= last
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || (ok && timeout.Timeout())
}
