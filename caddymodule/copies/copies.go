// Package copies selects the messages that a backend gets a copy of, and keeps the queue of those
// copies through reloads.
package copies

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Config is what Copies needs. All fields are required.
type Config struct {
	Folder    string            // folder of the queue file
	Endpoints backend.Endpoints // current destination of copies
	Wanted    func() bool       // reports whether any host has a backend
	Label     func(presence.HostName) string
	Logger    *zap.Logger
}

// Copies is the queue of copies for the backends of all sites. Like the connections, it survives a
// reload; the configuration in effect decides where copies are sent.
type Copies struct {
	cfg     Config
	metrics *metrics
	courier atomic.Pointer[backend.Courier] // nil while the file is not open

	// mu guards the fields below. It is held while the file is opened.
	mu     sync.Mutex
	tried  time.Time // time of the last failure to open the file
	err    error     // its error
	retry  *time.Timer
	closed bool
}

// retryPause is the pause after a failure to open the file.
const retryPause = 5 * time.Second

// ErrNotCopied is returned when a message could not be copied to the backend. It must not be
// delivered either, because others would see a message that the backend never receives. The reason
// is logged.
var ErrNotCopied = errors.New("the message cannot be copied to the backend")

// errClosed is returned after Close.
var errClosed = errors.New("the server is stopping")

// New returns Copies. The first Add, or [Copies.Refresh], opens the file.
func New(c Config) *Copies { return &Copies{cfg: c, metrics: newMetrics(c.Label)} }

// Add queues copies of messages, one for each channel, for the backend of their host. If it returns
// nil, the copies are on disk.
//
// It returns ErrNotCopied if the queue is full or cannot be written, and then none is queued.
func (c *Copies) Add(host presence.HostName, messages ...backend.Message) error {
	courier, err := c.open()
	if err == nil {
		err = courier.Add(host, messages...)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCopied, err)
	}
	return nil
}

// open returns the courier. It opens the file unless that failed less than retryPause ago.
func (c *Copies) open() (*backend.Courier, error) {
	if courier := c.courier.Load(); courier != nil {
		return courier, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch courier := c.courier.Load(); {
	case courier != nil:
		return courier, nil
	case c.closed:
		return nil, errClosed
	case c.err != nil && time.Since(c.tried) < retryPause:
		return nil, c.err
	}
	courier, err := backend.Open(backend.Config{
		Folder: c.cfg.Folder, Endpoints: c.cfg.Endpoints, Observer: c.metrics, Logger: c.cfg.Logger,
	})
	c.tried, c.err = time.Now(), err
	if err != nil {
		c.cfg.Logger.Error("copies for backends are refused", zap.Error(err), zap.Duration("pause", retryPause))
		return nil, err
	}
	c.courier.Store(courier)
	return courier, nil
}

// Refresh applies the destinations of the configuration in effect. If there is any, it opens the
// file in the background.
func (c *Copies) Refresh() {
	if courier := c.courier.Load(); courier != nil {
		courier.Refresh()
		return
	}
	if c.cfg.Wanted() {
		c.openLater(0)
	}
}

// openLater opens the file after a pause, and retries until it is open.
func (c *Copies) openLater(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.retry != nil {
		return
	}
	c.retry = time.AfterFunc(pause, func() { // stopped by Close
		_, err := c.open()
		c.mu.Lock()
		c.retry = nil
		c.mu.Unlock()
		if err != nil && c.cfg.Wanted() {
			c.openLater(retryPause)
		}
	})
}

// Close waits until the deadline for deliveries in progress, and closes the file.
func (c *Copies) Close(logger *zap.Logger, deadline time.Time) {
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

// Reopen allows the file to be opened again after Close.
func (c *Copies) Reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.err = false, nil
}
