package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// session is one connection: it executes the frames of a socket on a [presence.Conn].
type session struct {
	hub      *Hub
	tenant   *tenant
	counters *hostMetrics
	sock     *socket.Conn
	since    int64          // start, Unix time in milliseconds
	conn     *presence.Conn // set once, under mu
	greeted  atomic.Bool    // the welcome is queued; no frame may precede it
	ended    bool           // guarded by mu; here, it takes no room

	// Only the reading goroutine uses these.
	tokens float64   // frames that are allowed now
	filled time.Time // time of the last change of tokens

	// mu guards the fields below.
	mu     sync.Mutex
	issued int64   // see tokenIssued
	asking *asking // nil until a join needs an answer of the site's backend
}

var (
	_ socket.Handler  = (*session)(nil)
	_ presence.Outbox = (*session)(nil)
)

// connect adds the session to the registry. If the socket is closed meanwhile, the close waits
// until the session is there.
func (s *session) connect(id presence.ID, who site.Login) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	s.conn, err = s.hub.Registry.ConnectAs(id, s.tenant.name, s.tenant, who.User, s)
	if err == nil {
		s.conn.SetGrants(who.Grants)
		s.issued = who.Issued
	}
	return err
}

// start sends the welcome and starts to read.
func (s *session) start(expires time.Time) {
	site := s.tenant.site()
	s.filled = time.Now()
	s.tokens = site.Limits.Burst()
	var who *presence.User
	if user, ok := s.conn.User(); ok {
		who = &user
	}
	s.answer(wire.Welcome(s.conn.ID(), who, site.Ping.Interval))
	s.greeted.Store(true)
	s.hub.wheel.Expire(s.sock, expires)
	s.hub.Assignments.Joiner.JoinAssigned(s.conn)
	s.sock.Start()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.hub.wheel.Add(s.sock)
	}
}

// Push implements presence.Outbox.
func (s *session) Push(frame []byte) { s.sock.Push(frame) }

// Queue implements presence.Outbox.
func (s *session) Queue(frames []byte, n int) (flush bool) {
	s.counters.delivered.Add(uint64(n))
	return s.sock.Queue(frames, n)
}

// Flush implements presence.Outbox.
func (s *session) Flush() { s.sock.Flush() }

// Limits implements socket.Handler.
func (s *session) Limits() socket.Limits {
	site := s.tenant.site()
	return socket.Limits{
		Frame: site.Limits.Frame, Unfinished: &s.tenant.unfinished, Queue: site.Limits.Queue,
		Ping: site.Ping.Interval, Silence: site.Ping.Timeout,
	}
}

// Message implements socket.Handler.
func (s *session) Message(text bool, p []byte) {
	allowed := s.countFrame()
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
		s.join(cmd)
	case wire.TypeLeave:
		s.leave(cmd)
	case wire.TypeAuthenticate:
		err = s.authenticate(cmd)
	case wire.TypeSend:
		err = s.send(cmd)
		s.counters.sent(fromClient, codeOf(err))
	case wire.TypeStatus:
		if err = s.conn.SetStatus(cmd.Status); err == nil {
			s.answer(wire.Status(cmd.Ref, cmd.Status))
		}
	case wire.TypePing:
		s.answer(wire.Pong(cmd.Ref))
	}
	if err != nil {
		s.fail(cmd.Ref, err)
	}
}

// fail sends the error of a frame.
func (s *session) fail(ref string, err error) {
	if errors.Is(err, presence.ErrClosed) {
		return
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		s.sendError(&wire.Error{Code: e.Code, Ref: ref, Message: e.Message})
		return
	}
	s.sendError(&wire.Error{Code: codeOf(err), Ref: ref, Message: s.explain(err)})
}

// answer sends a frame. The calling goroutine holds no locks, so it may write to the socket itself.
func (s *session) answer(frame []byte) {
	if s.sock.Queue(frame, 1) {
		s.sock.Flush()
	}
}

// Control implements socket.Handler. Control frames count like others, except for those that the
// server asked for.
func (s *session) Control() { s.countFrame() }

// countFrame counts a frame, see countFrames.
func (s *session) countFrame() bool { return s.countFrames(1) }

// countFrames counts frames in a token bucket. It returns false over the limit, and closes a connection
// that sends many above it.
func (s *session) countFrames(n int) bool {
	limits := &s.tenant.site().Limits
	burst, now := limits.Burst(), time.Now()
	s.tokens = min(burst, s.tokens+now.Sub(s.filled).Seconds()*limits.FramesPerSecond)
	s.filled = now
	s.tokens -= float64(n)
	if s.tokens < -burst {
		s.sock.Close(socket.CloseRateLimited, "too many frames", socket.Cause{Reason: socket.ReasonRateLimited})
	}
	return s.tokens >= 0
}

// errTooFast refuses a frame over the limit of frames_per_second.
var errTooFast = &wire.Error{Code: wire.CodeRateLimited, Message: "too many frames: slow down"}

func (s *session) sendError(err error) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		s.answer(wire.Failed(e))
	}
}

// codes are the error codes of the errors of presence and token.
var codes = []struct {
	err  error
	code wire.Code
}{
	{presence.ErrBadChannel, wire.CodeBadChannel},
	{presence.ErrReservedChannel, wire.CodeReservedChannel},
	{presence.ErrLoginRequired, wire.CodeLoginRequired},
	{presence.ErrDenied, wire.CodeDenied},
	{presence.ErrTooManyChannels, wire.CodeTooManyChannels},
	{presence.ErrNotJoined, wire.CodeNotJoined},
	{presence.ErrTooLarge, wire.CodeTooLarge},
	{presence.ErrBusy, wire.CodeRateLimited},
	{token.ErrInvalid, wire.CodeBadToken},
	{errNoTokens, wire.CodeBadToken},
}

// codeOf returns the code of an error, or "ok" for nil.
func codeOf(err error) wire.Code {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return wire.CodeUnavailable
}

// explain returns the error text for the client. The reason of an unavailable result is only
// logged; failures of a plugin, a backend or a key set are logged where they occur, and a start is
// not a failure.
func (s *session) explain(err error) string {
	if codeOf(err) != wire.CodeUnavailable {
		return err.Error()
	}
	if !failedInPlugin(err) && !errors.Is(err, copies.ErrNotCopied) && !site.Temporary(err) && !errors.Is(err, authorize.ErrUnavailable) && !errors.Is(err, errStarting) {
		s.tenant.site().Logger.Error("command failed", zap.Stringer("host", s.tenant.name), zap.Error(err))
	}
	return "try again later"
}

// errNoTokens is returned when a client sends a token to a site without jwt.
var errNoTokens = errors.New("this host accepts no tokens")

// authenticate logs the connection in as the user of a token.
func (s *session) authenticate(cmd wire.Command) error {
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
	before, _ := s.conn.User()
	asked := s.conn.Asked()
	if err := s.conn.Authenticate(*who.User, who.Grants); err != nil {
		return err
	}
	s.setTokenIssued(id.Issued)
	// A revocation that has not found the connection with this user is in the list by now.
	if err := of.CheckRevoked(s.tenant.name, id.ID, id.Issued); err != nil {
		closeRefused(s.sock, err)
		return presence.ErrClosed
	}
	if id.ID != before.ID {
		s.cancelWaitsOfOthers()
		s.watchGrants()
	} else {
		s.watchNewGrants(asked)
	}
	s.hub.Assignments.Joiner.LeaveUnassigned(s.conn)
	s.hub.wheel.Expire(s.sock, id.Expires)
	user, _ := s.conn.User() // with the known e-mail, if the token has none
	s.answer(wire.Authenticated(cmd.Ref, user))
	s.hub.Assignments.Joiner.JoinAssigned(s.conn)
	return nil
}

// Closed implements socket.Handler.
func (s *session) Closed(cause socket.Cause) {
	if !s.hub.disconnect(s) {
		return
	}
	s.endAsking()
	s.hub.wheel.Remove(s.sock)
	s.counters.dropped(cause.Reason)
	s.tenant.site().Logger.Debug("connection closed",
		zap.Stringer("host", s.tenant.name), zap.Stringer("connection", s.conn.ID()),
		zap.String("reason", string(cause.Reason)), zap.Int("code", cause.Code))
}

// Panicked implements socket.Handler.
func (s *session) Panicked(v any) {
	s.tenant.site().Logger.Error("panic in a connection",
		zap.Stringer("host", s.tenant.name), zap.Stringer("connection", s.conn.ID()),
		zap.Any("panic", v), zap.Stack("stack"))
}

// isGreeted reports whether the welcome of a connection is queued. It is true for a connection
// without a session.
func isGreeted(c *presence.Conn) bool {
	s, ok := c.Outbox().(*session)
	return !ok || s.greeted.Load()
}

// failedInPlugin reports whether the error is from a plugin; its failure is already logged.
func failedInPlugin(err error) bool {
	_, ok := errors.AsType[*plugins.Error](err)
	return ok
}
