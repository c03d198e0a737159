// Package copies selects the messages that a backend gets a copy of, and keeps the queue of those
// copies through reloads.
package copies

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Config is what Copies needs. All fields but Tracer are required.
type Config struct {
	Folder    string            // folder of the queue file
	Endpoints backend.Endpoints // current destination of copies
	Wanted    func() bool       // reports whether any host has a backend
	Label     func(presence.HostName) string
	Logger    *zap.Logger
	Tracer    *tracing.Tracer
}

// Copies is the queue of copies for the backends of all sites. Like the connections, it survives a
// reload; the configuration in effect decides where copies are sent.
type Copies struct {
	*backend.Keeper
	metrics *backend.Metrics
}

// ErrNotCopied is returned when a message could not be copied to the backend. It must not be
// delivered either, because others would see a message that the backend never receives. The reason
// is logged.
var ErrNotCopied = errors.New("the message cannot be copied to the backend")

// New returns Copies. The first Add, or Refresh, opens the file.
func New(c Config) *Copies {
	m := newMetrics(c.Label)
	return &Copies{metrics: m, Keeper: backend.NewKeeper(backend.Config{
		Content: backend.Copies, Folder: c.Folder, Endpoints: c.Endpoints, Observer: m, Logger: c.Logger, Tracer: c.Tracer,
	}, c.Wanted)}
}

// Add queues copies of messages, one for each channel, for the backend of their host. If it returns
// nil, the copies are on disk.
//
// It returns ErrNotCopied if the queue is full or cannot be written, and then none is queued.
func (c *Copies) Add(host presence.HostName, messages ...backend.Message) error {
	courier, err := c.Open()
	if err == nil {
		err = courier.Add(host, messages...)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCopied, err)
	}
	return nil
}
