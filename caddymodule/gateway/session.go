package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/copies"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// session is one client: it carries out the frames of a socket on a connection of presence.
type session struct {
	hub      *Hub
	tenant   *tenant
	counters *hostMetrics
	sock     *socket.Conn
	since    int64          // Unix time in milliseconds
	conn     *presence.Conn // set once, under mu
	greeted  atomic.Bool    // the welcome is on its way, which nothing may overtake

	// The reading goroutine alone uses these.
	tokens float64   // frames that may come now
	filled time.Time // when tokens was right

	// mu guards what follows.
	mu    sync.Mutex
	ended bool
}

var (
	_ socket.Handler  = (*session)(nil)
	_ presence.Outbox = (*session)(nil)
)

// connect takes the session into the registry. Whoever closes the socket meanwhile waits, and then finds it there.
func (s *session) connect(user *presence.User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	s.conn, err = s.hub.Registry.Connect(s.tenant.name, s.tenant, user, s)
	return err
}

// start greets the client and starts to read.
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
		s.sendError(&wire.Error{Code: wire.CodeBadFrame, Message: "send text frames of JSON"})
		return
	}
	cmd, err := wire.Parse(p)
	if err != nil {
		s.sendError(err)
		return
	}
	if !allowed {
		s.sendError(&wire.Error{Code: wire.CodeRateLimited, Ref: cmd.Ref, Message: "too many frames: slow down"})
		return
	}
	switch cmd.Type {
	case wire.TypeJoin:
		err = s.join(cmd)
		s.counters.joined(codeOf(err))
	case wire.TypeLeave:
		err = s.conn.Leave(cmd.Channel, cmd.Ref)
	case wire.TypeAuthenticate:
		err = s.authenticate(cmd)
	case wire.TypeSend:
		err = s.send(cmd)
		s.counters.sent(fromClient, codeOf(err))
	case wire.TypePing:
		s.answer(wire.Pong(cmd.Ref))
	}
	if err != nil && !errors.Is(err, presence.ErrClosed) {
		s.sendError(&wire.Error{Code: codeOf(err), Ref: cmd.Ref, Message: s.explain(err)})
	}
}

// join carries out a join. Its answer comes from presence, most of the time at once.
func (s *session) join(cmd wire.Command) error {
	if s.sock.Hold() {
		defer s.sock.Flush()
	}
	return s.conn.Join(cmd.Channel, cmd.Watch, cmd.Ref)
}

// answer sends a frame from a goroutine that has no locks, and so may write itself.
func (s *session) answer(frame []byte) {
	if s.sock.Queue(frame, 1) {
		s.sock.Flush()
	}
}

// Control implements socket.Handler: control frames count like others, but for those the server asked for.
func (s *session) Control() { s.countFrame() }

// countFrame counts a frame against the rate, a token bucket. It returns false for one too many; a client that goes on
// regardless is closed.
func (s *session) countFrame() bool {
	limits := &s.tenant.site().Limits
	burst, now := limits.Burst(), time.Now()
	s.tokens = min(burst, s.tokens+now.Sub(s.filled).Seconds()*limits.FramesPerSecond)
	s.filled = now
	s.tokens--
	if s.tokens < -burst {
		s.sock.Close(socket.CloseRateLimited, "too many frames", socket.Cause{Reason: socket.ReasonRateLimited})
	}
	return s.tokens >= 0
}

func (s *session) sendError(err error) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		s.answer(wire.Failed(e))
	}
}

// codes says how what presence and token refuse is called on the wire.
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

// codeOf returns the code for an error, "ok" for none.
func codeOf(err error) wire.Code {
	if err == nil {
		return "ok"
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return wire.CodeUnavailable
}

// explain returns what a client may know of an error. The reason why something is unavailable is for the log, where that
// of a plugin, a backend or a key set is already.
func (s *session) explain(err error) string {
	if codeOf(err) != wire.CodeUnavailable {
		return err.Error()
	}
	if !failedInPlugin(err) && !errors.Is(err, copies.ErrNotCopied) && !errors.Is(err, token.ErrUnavailable) {
		s.tenant.site().Logger.Error("command failed", zap.Stringer("host", s.tenant.name), zap.Error(err))
	}
	return "try again later"
}

// errNoTokens is returned when a client sends a token to a site that knows none.
var errNoTokens = errors.New("this host takes no tokens")

// authenticate makes the connection the token's user.
func (s *session) authenticate(cmd wire.Command) error {
	verifier := s.tenant.site().Verifier
	if verifier == nil {
		return errNoTokens
	}
	ctx, cancel := context.WithTimeout(context.Background(), site.VerifyTimeout)
	defer cancel()
	id, err := verifier.Verify(ctx, strings.TrimSpace(cmd.Token)) // as in a header (RFC 9110 section 5.5)
	if err != nil {
		return err
	}
	if err := s.conn.Authenticate(presence.User{ID: id.ID, Email: id.Email}); err != nil {
		return err
	}
	s.hub.Assignments.Joiner.LeaveUnassigned(s.conn)
	s.hub.wheel.Expire(s.sock, id.Expires)
	user, _ := s.conn.User() // with the e-mail that the host knows, if the token has none
	s.answer(wire.Authenticated(cmd.Ref, user))
	s.hub.Assignments.Joiner.JoinAssigned(s.conn)
	return nil
}

// Closed implements socket.Handler.
func (s *session) Closed(cause socket.Cause) {
	if !s.hub.disconnect(s) {
		return
	}
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

// isGreeted reports whether a connection has its welcome. One that is no session has none.
func isGreeted(c *presence.Conn) bool {
	s, ok := c.Outbox().(*session)
	return !ok || s.greeted.Load()
}

// failedInPlugin reports whether an error was logged where it arose.
func failedInPlugin(err error) bool {
	_, ok := errors.AsType[*plugins.Error](err)
	return ok
}
