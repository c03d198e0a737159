// Package copies decides which messages a backend gets a copy of, and keeps the queue of those copies through reloads.
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

// Config is what copies need to know. All fields are required.
type Config struct {
	Folder    string            // of the file with what waits
	Endpoints backend.Endpoints // where copies go to now
	Wanted    func() bool       // reports whether any host has a backend now
	Label     func(presence.HostName) string
	Logger    *zap.Logger
}

// Copies are the messages for the backends of all sites. Like the sockets, what waits is kept through a reload: the
// configuration in effect says where it goes.
type Copies struct {
	cfg     Config
	metrics *metrics
	courier atomic.Pointer[backend.Courier] // nil while the file is not open

	// mu guards what follows. It is held while the file is opened.
	mu     sync.Mutex
	tried  time.Time // when opening failed last
	err    error     // why
	retry  *time.Timer
	closed bool
}

// retryPause is the pause before the file is tried again, when it could not be opened.
const retryPause = 5 * time.Second

// ErrNotCopied is returned when a message could not be handed to the backend: it must not be sent to others either, or
// they would see what the backend never hears of. The reason is logged.
var ErrNotCopied = errors.New("the message cannot be copied to the backend")

// errClosed is returned when copies are no longer taken.
var errClosed = errors.New("the server is stopping")

// New returns copies whose file is opened when the first is added, or by [Copies.Refresh].
func New(c Config) *Copies { return &Copies{cfg: c, metrics: newMetrics(c.Label)} }

// Add copies messages, one for each channel, to the backend of their host. When it returns nil, the copies
// are on disk.
//
// It returns ErrNotCopied when the queue is full or cannot be written. Then none is copied.
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

// open returns the courier, and opens the file if that was not tried just now.
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

// Refresh delivers waiting copies as the configuration in effect says. It opens the file for that, in the background.
func (c *Copies) Refresh() {
	if courier := c.courier.Load(); courier != nil {
		courier.Refresh()
		return
	}
	if c.cfg.Wanted() {
		c.openLater(0)
	}
}

// openLater opens the file after a pause, and again until it is open.
func (c *Copies) openLater(pause time.Duration) {
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
		if err != nil && c.cfg.Wanted() {
			c.openLater(retryPause)
		}
	})
}

// Close waits for the deliveries under way until the deadline, and closes the file.
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

// Reopen lets the file be opened again after close.
func (c *Copies) Reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.err = false, nil
}
