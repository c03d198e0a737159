package authorize

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
)

// ErrUnavailable is returned when a question has no answer. The reason is logged.
var ErrUnavailable = errors.New("the backend does not say whether this channel may be joined")

// Config is what an Asker needs. Label and Logger are required.
type Config struct {
	Label     func(presence.HostName) string // host label for metrics
	Logger    *zap.Logger
	Transport http.RoundTripper // if nil, HTTP over the network
	Tracer    *tracing.Tracer   // makes a span for each request; if nil, there are none
}

// Asker asks the backends of all hosts, and keeps their answers. It outlives a configuration. Its
// methods are safe for concurrent use.
type Asker struct {
	client  *http.Client
	tracer  *tracing.Tracer // nil for no spans
	metrics *metrics
	logger  *zap.Logger
	ctx     context.Context // context of all requests
	cancel  context.CancelFunc

	// mu guards hosts, host.uses and host.sweeping. The lock of a host may be acquired while it is
	// held.
	mu    sync.Mutex
	hosts map[presence.HostName]*host
}

// New returns an Asker. The caller calls Close.
func New(c Config) *Asker {
	a := &Asker{client: backend.NewClient(c.Transport), tracer: c.Tracer, logger: c.Logger, hosts: make(map[presence.HostName]*host)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.metrics = newMetrics(c.Label)
	return a
}

// Close ends all questions under way, which then have no answer, and drops the kept ones.
func (a *Asker) Close() {
	a.cancel()
	a.client.CloseIdleConnections()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.hosts {
		if h.sweeping != nil {
			h.sweeping.Stop()
		}
	}
	clear(a.hosts)
}

// Ask returns the kept answer, or asks the backend. It returns at the latest after the timeout of
// the endpoint, or when ctx ends.
//
// It returns ErrUnavailable, or the error of ctx.
func (a *Asker) Ask(ctx context.Context, to *Endpoint, q Question) (Answer, error) {
	return a.ask(ctx, to, q, true)
}

// AskAgain is like Ask, but does not use a kept answer. It keeps the new one.
func (a *Asker) AskAgain(ctx context.Context, to *Endpoint, q Question) (Answer, error) {
	return a.ask(ctx, to, q, false)
}

func (a *Asker) ask(ctx context.Context, to *Endpoint, q Question, useKept bool) (Answer, error) {
	h := a.acquire(q.Host, true)
	defer a.release(h)
	return h.ask(ctx, to, q, useKept)
}

// Kept returns the kept answer to a question. It does no I/O and waits for nothing.
func (a *Asker) Kept(to *Endpoint, q Question) (Answer, bool) {
	h := a.acquire(q.Host, false)
	if h == nil {
		return Answer{}, false
	}
	defer a.release(h)
	id := q.keyOf(to)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept.get(id, time.Now())
}

// Granter grants what the kept answers of an endpoint allow.
type Granter struct {
	Asker *Asker
	To    *Endpoint
}

// Granted implements presence.Granter.
func (g Granter) Granted(host presence.HostName, channel string, user presence.User) presence.Permissions {
	a, _ := g.Asker.Kept(g.To, Question{Host: host, Channel: channel, User: user})
	return a.Permissions()
}

var _ presence.Granter = Granter{}

// Forget drops the kept answers for users of a host. Questions about them that are under way are
// asked again: no answer from before Forget is used after it.
func (a *Asker) Forget(name presence.HostName, users []string) {
	h := a.acquire(name, false)
	if h == nil || len(users) == 0 {
		return
	}
	defer a.release(h)
	hashes := make(map[userHash]bool, len(users))
	for _, id := range users {
		hashes[hashUser(id)] = true
	}
	h.forget(hashes)
}

// ForgetAll is [Asker.Forget] for all users of a host.
func (a *Asker) ForgetAll(name presence.HostName) {
	h := a.acquire(name, false)
	if h == nil {
		return
	}
	defer a.release(h)
	h.forget(nil)
}

// acquire returns the state of a host, which stays until release. If there is none and create is
// not set, it returns nil.
func (a *Asker) acquire(name presence.HostName, create bool) *host {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hosts[name]
	if h == nil {
		if !create {
			return nil
		}
		h = &host{asker: a, name: name, flights: make(map[key]*flight)}
		a.hosts[name] = h
	}
	h.uses++
	return h
}

// release ends a use of a host. A host without uses has a sweep that drops it later.
func (a *Asker) release(h *host) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.uses--
	if h.sweeping == nil {
		h.sweeping = time.AfterFunc(sweepEvery, func() { a.sweep(h) })
	}
}

// sweepEvery is how often answers that have ended are dropped, and hosts without any.
const sweepEvery = 10 * time.Second

func (a *Asker) sweep(h *host) {
	now := time.Now()
	h.mu.Lock()
	h.kept.sweep(now)
	h.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hosts[h.name] != h { // closed
		return
	}
	if h.uses == 0 && h.isIdle(now) {
		delete(a.hosts, h.name)
		return
	}
	h.sweeping.Reset(sweepEvery)
}

// waiting yields the number of waiting joins of each host.
func (a *Asker) waiting(yield func(name presence.HostName, waiting int)) {
	a.mu.Lock()
	all := make([]*host, 0, len(a.hosts))
	for _, h := range a.hosts {
		all = append(all, h)
	}
	a.mu.Unlock()
	for _, h := range all {
		h.mu.Lock()
		n := h.waiters
		h.mu.Unlock()
		yield(h.name, n)
	}
}
