package pusher

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// session is the part of [gateway.Session] that a connection needs.
type session interface {
	Conn() *presence.Conn
	Site() *site.Site
	Answer(frame []byte)
	Enter(channel string, e presence.Entry)
	Leave(channel, ref string)
	Publish(p gateway.Publishing) error
	Admit(user presence.User) (site.Login, error)
	SignIn(who site.Login) error
	Identify(who site.Login) error
	Explain(err error) (wire.Code, string)
	ToldClientEvent(e events.ClientEvent)
}

var _ session = (*gateway.Session)(nil)

// conn is one connection of the protocol.
type conn struct {
	owner  unique.Handle[owner]
	socket app.SocketID
	client client
	state  *state // nil before the first use. Only the reading goroutine uses it
}

// owner is the app of a connection. Many connections have one, so each keeps only a pointer to it.
type owner struct {
	app         string            // ID
	host, asked presence.HostName // of the connection; of its request
}

// state is what a connection remembers that has a user or triggers events. Most have none of it.
type state struct {
	signedIn *app.User // what the backend has signed at the sign-in; nil before
	admitted *admitted // what the plugins have said about the user; nil if nothing
	members  []member  // in presence channels; few, so a linear search is enough
	rate     bucket    // of client events
	before   string    // as whom it was in the presence channel that it is entering; "" if it was not there
}

// remember returns the state, which it makes if necessary.
func (c *conn) remember() *state {
	if c.state == nil {
		c.state = new(state)
	}
	return c.state
}

// admitted is the info that the plugins gave a user in place of user_info.
type admitted struct{ id, info string }

// member is as whom the connection subscribes to a presence channel.
type member struct{ channel, id string }

var _ gateway.Protocol = (*conn)(nil)

// Encoding implements [gateway.Protocol].
func (*conn) Encoding() presence.Encoding { return Encoding }

// Subprotocol implements [gateway.Protocol]. A handshake never fails because of it.
func (*conn) Subprotocol(r *http.Request) string {
	return socket.Offered(r, func(name string) bool {
		version, found := strings.CutPrefix(name, "pusher-channels-protocol-")
		return found && len(version) == 1 && isServed(int(version[0]-'0'))
	})
}

// NewID implements [gateway.Protocol].
func (c *conn) NewID() presence.ID { return app.ConnID(c.socket) }

// Greet implements [gateway.Protocol].
func (c *conn) Greet(s *gateway.Session) { c.greet(s) }

func (c *conn) greet(s session) {
	timeout := app.Defaults().ActivityTimeout
	if of := s.Site().Pusher; of != nil {
		timeout = of.ActivityTimeout
	}
	b := c.socket.Append([]byte(`{"socket_id":"`))
	b = append(b, `","activity_timeout":`...)
	b = strconv.AppendInt(b, max(1, int64(timeout/time.Second)), 10)
	s.Answer(frame("pusher:connection_established", "", string(append(b, '}'))))
}

// Joined implements [gateway.Protocol].
func (c *conn) Joined(s *gateway.Session, channel, _ string, err error) { c.joined(s, channel, err) }

func (c *conn) joined(s session, channel string, err error) {
	if err == nil {
		return
	}
	// A signed channel waits for no backend, so this is the reading goroutine.
	if traits, wrong := app.ParseChannel(channel); wrong == nil && traits.Has(app.Presence) && c.state != nil {
		c.state.setMember(channel, c.state.before)
	}
	if r, answered := refusalOf(s.Explain(err)); answered {
		c.refuse(s, channel, r)
	}
}

// refuse answers a subscription that is refused.
func (c *conn) refuse(s session, channel string, r refusal) {
	s.Answer(subscriptionError(c.client.subscriptionError(), channel, r))
}

// Left implements [gateway.Protocol]. A client expects no answer when it unsubscribes.
func (*conn) Left(*gateway.Session, string, string, error) {}

// Serves implements [gateway.Protocol].
func (c *conn) Serves(of *site.Site) bool { return c.appOf(of) != nil }

// appOf returns the app of the connection; nil if the site no longer has it, or has it for another
// host.
func (c *conn) appOf(of *site.Site) *app.App {
	if of.Pusher == nil {
		return nil
	}
	if c.owner == (unique.Handle[owner]{}) {
		return nil // it is refused
	}
	by := c.owner.Value()
	if a := of.Pusher.ByID(by.app); a != nil && a.HostOf(by.asked) == by.host {
		return a
	}
	return nil
}

// KnowsCodesOnly implements [gateway.Protocol].
func (*conn) KnowsCodesOnly() bool { return true }

// Translate implements [gateway.Protocol].
func (c *conn) Translate(code int, reason string) (sent int, why string, before []byte) {
	sent = translated(code)
	if code == socket.CloseRestart {
		reason = "the server restarts" // in place of a text for programs
	}
	// The clients of old versions show no codes of a close. Pages listen for this error when the
	// backend terminates connections.
	if sent >= 4000 && (c.client.protocol < oldVersion || code == socket.CloseDisconnected) {
		before = errorFrame(sent, reason)
	}
	return sent, reason, before
}

// translated returns the close code of the protocol for one of package socket. Clients choose by
// its range whether and when to come back.
func translated(code int) int {
	switch code {
	case socket.CloseGoingAway: // the host or the app has left the configuration
		return closeUnknownApp
	case socket.CloseLimit:
		return closeFull
	case socket.CloseTokenExpired, socket.CloseDisconnected, socket.CloseOrigin, socket.CloseRefused:
		return codeRefused
	case socket.CloseSlow, socket.CloseRateLimited, socket.CloseUnavailable, socket.ClosePolicy:
		return closeBackOff
	case socket.CloseRestart, socket.CloseReconnect:
		return closeReconnect
	}
	return code
}

// Close codes of the protocol. Clients stay away after 4000 to 4099, come back after a second after
// 4100 to 4199, and at once after 4200 to 4299.
const (
	closeTLSOnly    = 4000
	closeUnknownApp = 4001
	closeFull       = 4004
	closeBadVersion = 4007
	closeNoVersion  = 4008
	closeBackOff    = 4100
	closeReconnect  = 4200
	minVersion      = 4
	maxVersion      = 7
	oldVersion      = 6 // the first whose clients show close codes
)
