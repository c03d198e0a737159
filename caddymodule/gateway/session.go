package gateway

import (
	"errors"
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

// Session is one connection: a [Protocol] executes the frames of a socket on a [presence.Conn]
// through it.
type Session struct {
	hub      *Hub
	protocol Protocol
	tenant   *tenant
	counters *hostMetrics
	sock     *socket.Conn
	since    int64          // start, Unix time in milliseconds
	conn     *presence.Conn // set once, under mu
	greeted  atomic.Bool    // the welcome is queued; no frame may precede it
	ended    bool           // guarded by mu; here, it takes no room

	// Only the reading goroutine uses these.
	tokens float64       // frames that are allowed now
	filled time.Duration // time of the last change of tokens, since processStart

	// mu guards the fields below.
	mu     sync.Mutex
	issued int64   // see tokenIssued
	asking *asking // nil until a join needs an answer of the site's backend
}

var (
	_ socket.Handler         = (*Session)(nil)
	_ socket.Translator      = (*Session)(nil)
	_ presence.EncodedOutbox = (*Session)(nil)
)

// processStart is the origin of times that need no wall clock: a Duration takes less memory than a
// Time.
var processStart = time.Now()

// connect adds the session to the registry. If the socket is closed meanwhile, the close waits
// until the session is there.
func (s *Session) connect(id presence.ID, who site.Login) error {
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

// start sends the first frame and starts to read.
func (s *Session) start(expires time.Time) {
	site := s.tenant.site()
	s.filled = time.Since(processStart)
	s.tokens = site.Limits.Burst()
	s.protocol.Greet(s)
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

// ID returns the ID of the connection.
func (s *Session) ID() presence.ID { return s.conn.ID() }

// Conn returns the connection.
func (s *Session) Conn() *presence.Conn { return s.conn }

// Host returns the host of the connection.
func (s *Session) Host() presence.HostName { return s.tenant.name }

// Site returns the site that serves the connection now.
func (s *Session) Site() *site.Site { return s.tenant.site() }

// Encoding implements presence.EncodedOutbox.
func (s *Session) Encoding() presence.Encoding { return s.protocol.Encoding() }

// Translate implements socket.Translator.
func (s *Session) Translate(code int, reason string) (sent int, why string, before []byte) {
	return s.protocol.Translate(code, reason)
}

// Push implements presence.Outbox.
func (s *Session) Push(frame []byte) { s.sock.Push(frame) }

// Queue implements presence.Outbox.
func (s *Session) Queue(frames []byte, n int) (flush bool) {
	s.counters.delivered.Add(uint64(n))
	return s.sock.Queue(frames, n)
}

// Flush implements presence.Outbox.
func (s *Session) Flush() { s.sock.Flush() }

// Limits implements socket.Handler.
func (s *Session) Limits() socket.Limits {
	site := s.tenant.site()
	return socket.Limits{
		Frame: site.Limits.Frame, Unfinished: &s.tenant.unfinished, Queue: site.Limits.Queue,
		Ping: site.Ping.Interval, Silence: site.Ping.Timeout, TellSilent: s.protocol.KnowsCodesOnly(),
	}
}

// Message implements socket.Handler.
func (s *Session) Message(text bool, p []byte) { s.protocol.Message(s, text, p, s.countFrame()) }

// fail sends the error of a frame.
func (s *Session) fail(ref string, err error) {
	if errors.Is(err, presence.ErrClosed) {
		return
	}
	code, text := s.Explain(err)
	s.sendError(&wire.Error{Code: code, Ref: ref, Message: text})
}

// Answer sends a whole frame. The calling goroutine holds no locks, so it may write to the socket
// itself.
func (s *Session) Answer(frame []byte) {
	if s.sock.Queue(frame, 1) {
		s.sock.Flush()
	}
}

// Control implements socket.Handler. Control frames count like others, except for those that the
// server asked for.
func (s *Session) Control() { s.countFrame() }

// Close closes the connection with a code of package socket, which the protocol translates.
func (s *Session) Close(code int, reason string, cause socket.Reason) {
	s.sock.Close(code, reason, socket.Cause{Reason: cause})
}

// countFrame counts a frame, see countFrames.
func (s *Session) countFrame() bool { return s.countFrames(1) }

// countFrames counts frames in a token bucket. It returns false over the limit, and closes a
// connection that sends many above it.
func (s *Session) countFrames(n int) bool {
	limits := &s.tenant.site().Limits
	burst, now := limits.Burst(), time.Since(processStart)
	s.tokens = min(burst, s.tokens+(now-s.filled).Seconds()*limits.FramesPerSecond)
	s.filled = now
	s.tokens -= float64(n)
	if s.tokens < -burst {
		s.Close(socket.CloseRateLimited, "too many frames", socket.ReasonRateLimited)
	}
	return s.tokens >= 0
}

// errTooFast refuses a frame over the limit of frames_per_second.
var errTooFast = &wire.Error{Code: wire.CodeRateLimited, Message: "too many frames: slow down"}

func (s *Session) sendError(err error) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		s.Answer(wire.Failed(e))
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
	{presence.ErrTooManyMembers, wire.CodeTooManyChannels},
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

// Explain returns the code and the text of an error for the client, and logs what it is not told.
func (s *Session) Explain(err error) (wire.Code, string) {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code, e.Message
	}
	return codeOf(err), s.explain(err)
}

// explain returns the error text for the client. The reason of an unavailable result is only
// logged; failures of a plugin, a backend or a key set are logged where they occur, and a start is
// not a failure.
func (s *Session) explain(err error) string {
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

// Closed implements socket.Handler.
func (s *Session) Closed(cause socket.Cause) {
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
func (s *Session) Panicked(v any) {
	s.tenant.site().Logger.Error("panic in a connection",
		zap.Stringer("host", s.tenant.name), zap.Stringer("connection", s.conn.ID()),
		zap.Any("panic", v), zap.Stack("stack"))
}

// isGreeted reports whether the welcome of a connection is queued. It is true for a connection
// without a session.
func isGreeted(c *presence.Conn) bool {
	s, ok := c.Outbox().(*Session)
	return !ok || s.greeted.Load()
}

// failedInPlugin reports whether the error is from a plugin; its failure is already logged.
func failedInPlugin(err error) bool {
	_, ok := errors.AsType[*plugins.Error](err)
	return ok
}
