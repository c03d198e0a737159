package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// copies are the messages for the backends of all sites. Like the sockets, what waits is kept through a reload: the
// configuration in effect says where it goes.
type copies struct {
	hub     *hub
	courier atomic.Pointer[backend.Courier] // nil while the file is not open

	// mu guards what follows. It is held while the file is opened.
	mu     sync.Mutex
	tried  time.Time // when opening failed last
	err    error     // why
	retry  *time.Timer
	closed bool
}

// copiesRetry is the pause before the file is tried again, when it could not be opened.
const copiesRetry = 5 * time.Second

// errNotCopied is returned when a message could not be handed to the backend: it must not be sent to others either, or
// they would see what the backend never hears of. The reason is logged.
var errNotCopied = errors.New("the message cannot be copied to the backend")

// errNoBackend is why a message in the mode receive goes nowhere.
var errNoBackend = errors.New("the site has no backend")

func newCopies(h *hub) *copies { return &copies{hub: h} }

// copyToBackend has what was sent, a message for each channel, copied to the backend of its host. When it returns nil,
// the copies are on disk, or all are for listeners and the site has no backend, which is logged once.
//
// It returns errNotCopied when the queue is full or cannot be written, or nobody would get a message. Then none is
// copied.
func (s *site) copyToBackend(host presence.HostName, messages ...backend.Message) error {
	if len(messages) == 0 {
		return nil
	}
	if s.backend == nil {
		return s.withoutBackend(host, messages)
	}
	courier, err := s.app.hub.copies.open()
	if err == nil {
		err = courier.Add(host, messages...)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotCopied, err)
	}
	return nil
}

// withoutBackend is what becomes of messages for a backend that is not configured.
func (s *site) withoutBackend(host presence.HostName, messages []backend.Message) error {
	s.lacks.Do(func() {
		s.logger.Warn("users are assigned with a mode that copies, but the site has no backend: write one",
			zap.Stringer("host", host), zap.String("mode", string(messages[0].Mode)))
	})
	if slices.ContainsFunc(messages, func(m backend.Message) bool { return m.Mode != backend.Listen }) {
		return fmt.Errorf("%w: %w", errNotCopied, errNoBackend)
	}
	return nil
}

// open returns the courier, and opens the file if that was not tried just now.
func (c *copies) open() (*backend.Courier, error) {
	if courier := c.courier.Load(); courier != nil {
		return courier, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch courier := c.courier.Load(); {
	case courier != nil:
		return courier, nil
	case c.closed:
		return nil, errDraining
	case c.err != nil && time.Since(c.tried) < copiesRetry:
		return nil, c.err
	}
	logger := zap.New(c.hub.plugins.log).Named("rollcall.backend")
	courier, err := backend.Open(backend.Config{
		Folder:    filepath.Join(caddy.AppDataDir(), "rollcall", "backend"),
		Endpoints: c.hub, Observer: c.hub.metrics, Logger: logger,
	})
	c.tried, c.err = time.Now(), err
	if err != nil {
		logger.Error("copies for backends are refused", zap.Error(err), zap.Duration("pause", copiesRetry))
		return nil, err
	}
	c.courier.Store(courier)
	return courier, nil
}

// follow has what waits delivered as the configuration in effect says. The file is opened for that, in the background.
func (c *copies) follow() {
	if courier := c.courier.Load(); courier != nil {
		courier.Refresh()
		return
	}
	if c.hub.hasBackend() {
		c.later(0)
	}
}

// later opens the file after a pause, and again until it is open.
func (c *copies) later(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.retry != nil {
		return
	}
	c.retry = time.AfterFunc(pause, func() { // close stops it
		_, err := c.open()
		c.mu.Lock()
		c.retry = nil
		c.mu.Unlock()
		if err != nil && c.hub.hasBackend() {
			c.later(copiesRetry)
		}
	})
}

// close waits for the deliveries under way until the deadline, and closes the file.
func (c *copies) close(logger *zap.Logger, deadline time.Time) {
	c.mu.Lock()
	c.closed = true
	if c.retry != nil {
		c.retry.Stop()
		c.retry = nil
	}
	courier := c.courier.Swap(nil)
	c.mu.Unlock()
	if courier == nil {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := courier.Close(ctx); err != nil {
		logger.Error("closing the file of waiting copies", zap.Error(err))
	}
}

// reopen lets the file be opened again after close.
func (c *copies) reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.err = false, nil
}

// hasBackend tells whether the configuration in effect has a backend for any host.
func (h *hub) hasBackend() bool {
	now := h.configurations()
	return len(now) > 0 && slices.ContainsFunc(now[0].sites, func(s *site) bool { return s.backend != nil })
}

// Endpoint implements backend.Endpoints with the configuration in effect, or the last that was.
func (h *hub) Endpoint(host presence.HostName) *backend.Endpoint {
	if now := h.configurations(); len(now) > 0 {
		if s := now[0].find(host); s != nil {
			return s.backend
		}
	}
	return nil
}

var _ backend.Endpoints = (*hub)(nil)
