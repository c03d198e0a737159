package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

var _ site.Revocations = (*Hub)(nil)

// Revoked implements site.Revocations.
func (h *Hub) Revoked(host presence.HostName, user string, issued int64) (since time.Duration, revoked bool) {
	return h.Assignments.Book.Revoked(host, user, issued)
}

const (
	// startPoll is how often a start is looked at while logins wait for its end.
	startPoll = 10 * time.Millisecond
	// startRetry is how often a file that cannot be opened is tried while logins wait.
	startRetry = 500 * time.Millisecond
)

// starts lets many wait for the end of a start. The zero value is ready to use.
type starts struct {
	mu   sync.Mutex
	wait chan struct{} // closed at the end, or after a while; nil if nobody waits; guarded by mu
}

// AwaitRevocations implements site.Revocations. It waits while the pod of a cluster starts, see
// [Hub.Starting], and as long at most while the file of assignments cannot be opened, or while the
// pod begins to serve the host.
func (h *Hub) AwaitRevocations(ctx context.Context, host presence.HostName, clustered bool) error {
	for !h.knowsRevocations(clustered) {
		select {
		case <-h.startStep(clustered):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !clustered || !h.begins(host) {
		return nil
	}
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for end := time.Now().Add(maxStarting); h.begins(host) && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (h *Hub) begins(host presence.HostName) bool {
	pods := h.Joined()
	return pods != nil && pods.Begins(host)
}

func (h *Hub) knowsRevocations(clustered bool) bool {
	if clustered && h.Starting() {
		return false
	}
	since := h.configs.Load().since
	if since.IsZero() { // HTTP has started before the app rollcall
		h.Assignments.Start(false)
	}
	return !since.IsZero() && time.Since(since) >= maxStarting || h.Assignments.Known()
}

// startStep returns a channel that is closed when the revocations may be known. One goroutine looks
// for all who wait.
func (h *Hub) startStep(clustered bool) <-chan struct{} {
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	if h.starts.wait == nil {
		h.starts.wait = make(chan struct{})
		go h.watchStart(clustered) // ends after maxStarting
	}
	return h.starts.wait
}

func (h *Hub) watchStart(clustered bool) {
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	tried := time.Now()
	for end := tried.Add(maxStarting); !h.knowsRevocations(clustered) && time.Now().Before(end); <-tick.C {
		if !h.Assignments.Known() && time.Since(tried) >= startRetry {
			h.Assignments.Retry()
			tried = time.Now()
		}
	}
	h.starts.mu.Lock()
	defer h.starts.mu.Unlock()
	close(h.starts.wait)
	h.starts.wait = nil
}

// lateRevocation is the age of a revocation at which connections are closed that its disconnect has
// not reached. Until then, the backend decides how they are closed.
const lateRevocation = 5 * time.Second

// revokedReason is the reason of a connection that is closed because its token is revoked.
const revokedReason = "token revoked"

// tokensRevoked closes the connections with revoked tokens of a user that are still there when the
// revocation is lateRevocation old. The book calls it. Later logins look at the list themselves.
func (h *Hub) tokensRevoked(name presence.HostName, user string, since time.Duration) {
	host := h.Registry.Host(name)
	if host == nil || len(host.UserConns(user)) == 0 {
		return
	}
	if since >= lateRevocation {
		h.closeRevoked(name, user)
		return
	}
	time.AfterFunc(lateRevocation-since, func() { h.closeRevoked(name, user) }) // one a user and revocation
}

func (h *Hub) closeRevoked(name presence.HostName, user string) {
	host := h.Registry.Host(name)
	if host == nil {
		return
	}
	h.disconnectConns(name, slices.DeleteFunc(host.UserConns(user), func(c *presence.Conn) bool {
		s, ok := c.Outbox().(*Session)
		if !ok || h.closer.has(s) { // it may be told to reconnect
			return true
		}
		issued := s.tokenIssued()
		if issued == 0 {
			return true // not logged in by a token
		}
		_, revoked := h.Revoked(name, user, issued)
		return !revoked
	}), order{reason: revokedReason})
}

// tokenIssued returns when the token was issued that has logged the session in, see
// [site.Login.Issued].
func (s *Session) tokenIssued() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

func (s *Session) setTokenIssued(issued int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued = issued
}

// refusalOf returns the close code of a connection whose token is refused after the handshake.
func refusalOf(err error) (code int) {
	if site.Temporary(err) {
		return socket.CloseUnavailable
	}
	return socket.CloseDisconnected
}
