package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Native is Rollcall's own [Protocol]. It has no state.
type Native struct{}

var _ Protocol = Native{}

// subprotocol is the subprotocol of the server. A client that offers none is served, too.
const subprotocol = "rollcall.v1"

// Encoding implements Protocol.
func (Native) Encoding() presence.Encoding { return 0 }

// Subprotocol implements Protocol.
func (Native) Subprotocol(r *http.Request) string {
	return socket.Offered(r, func(name string) bool { return name == subprotocol })
}

// NewID implements Protocol.
func (Native) NewID() presence.ID { return presence.NewID() }

// Greet implements Protocol.
func (Native) Greet(s *Session) {
	var who *presence.User
	if user, ok := s.conn.User(); ok {
		who = &user
	}
	s.Answer(wire.Welcome(s.conn.ID(), who, s.tenant.site().Ping.Interval))
}

// Message implements Protocol.
func (n Native) Message(s *Session, text bool, p []byte, allowed bool) {
	if !text {
		s.sendError(&wire.Error{Code: wire.CodeBadFrame, Message: "send JSON in text frames"})
		return
	}
	cmd, err := wire.Parse(p)
	if err != nil {
		s.sendError(err)
		return
	}
	if !allowed {
		s.fail(cmd.Ref, errTooFast)
		return
	}
	switch cmd.Type {
	case wire.TypeJoin:
		s.Enter(cmd.Channel, presence.Entry{Watch: cmd.Watch, Ref: cmd.Ref})
	case wire.TypeLeave:
		s.Leave(cmd.Channel, cmd.Ref)
	case wire.TypeAuthenticate:
		err = s.authenticate(cmd)
	case wire.TypeSend:
		if err = s.Publish(Publishing{Channels: cmd.Channels, Message: cmd.Message, ToOthers: cmd.NoEcho}); err == nil {
			s.Answer(wire.Sent(cmd.Ref))
		}
	case wire.TypeStatus:
		if err = s.conn.SetStatus(cmd.Status); err == nil {
			s.Answer(wire.Status(cmd.Ref, cmd.Status))
		}
	case wire.TypePing:
		s.Answer(wire.Pong(cmd.Ref))
	}
	if err != nil {
		s.fail(cmd.Ref, err)
	}
}

// Joined implements Protocol.
func (Native) Joined(s *Session, _, ref string, err error) {
	if err != nil {
		s.fail(ref, err)
	}
}

// Left implements Protocol.
func (Native) Left(s *Session, channel, ref string, err error) {
	if err != nil {
		s.fail(ref, err)
		return
	}
	s.Answer(wire.Encoder{}.Left(ref, channel, ""))
}

// Translate implements Protocol.
func (Native) Translate(code int, reason string) (sent int, why string, before []byte) {
	return code, reason, nil
}

// Serves implements Protocol.
func (Native) Serves(*site.Site) bool { return true }

// KnowsCodesOnly implements Protocol.
func (Native) KnowsCodesOnly() bool { return false }

// authenticate logs the connection in as the user of a token.
func (s *Session) authenticate(cmd wire.Command) error {
	of := s.tenant.site()
	if of.Verifier == nil {
		return errNoTokens
	}
	ctx, cancel := context.WithTimeout(context.Background(), site.VerifyTimeout)
	defer cancel()
	raw := strings.TrimSpace(cmd.Token) // as in a header (RFC 9110 section 5.5)
	id, err := of.Verify(ctx, raw, s.tenant.name)
	if err != nil {
		return err
	}
	who, err := of.Admit(s.tenant.name, s.conn.ID(), site.Login{
		User: &presence.User{ID: id.ID, Email: id.Email, Info: id.Info}, Grants: id.Grants, Token: raw,
	})
	if err != nil {
		return err
	}
	who.Issued = id.Issued
	if err := s.logIn(who, false); err != nil {
		return err
	}
	s.hub.wheel.Expire(s.sock, id.Expires)
	user, _ := s.conn.User() // with the known e-mail, if the token has none
	s.Answer(wire.Authenticated(cmd.Ref, user))
	s.hub.Assignments.Joiner.JoinAssigned(s.conn)
	return nil
}
