package gateway

import (
	"net/http"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// liveCore logs to the logger of the configuration in effect. Parts that outlive a configuration
// use it, because the logger of the configuration that created them may be closed.
type liveCore struct {
	target *atomic.Pointer[zap.Logger]
	fields []zapcore.Field
}

var _ zapcore.Core = liveCore{}

func newLiveCore() liveCore { return liveCore{target: new(atomic.Pointer[zap.Logger])} }

// setTarget sets the logger. The logger of a configuration that is not in effect is used only if
// there is no other.
func (c liveCore) setTarget(logger *zap.Logger, inEffect bool) {
	if inEffect {
		c.target.Store(logger)
		return
	}
	c.target.CompareAndSwap(nil, logger)
}

// named returns a logger for a part of the gateway.
func (c liveCore) named(part string) *zap.Logger { return zap.New(c).Named(part) }

// Enabled implements zapcore.Core.
func (c liveCore) Enabled(level zapcore.Level) bool {
	logger := c.target.Load()
	return logger != nil && logger.Core().Enabled(level)
}

// With implements zapcore.Core.
func (c liveCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = slices.Concat(c.fields, fields)
	return c
}

// Check implements zapcore.Core.
func (c liveCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c liveCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if ce := c.target.Load().Core().Check(e, nil); ce != nil {
		ce.Write(slices.Concat(c.fields, fields)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c liveCore) Sync() error {
	if logger := c.target.Load(); logger != nil {
		return logger.Sync()
	}
	return nil
}

// maxShownHost is the longest host in a log, in bytes: as long as a domain name can be.
const maxShownHost = 253

// ShownHost returns the host of a request for a log. A long one is cut, because any client can
// choose it.
func ShownHost(r *http.Request) string { return r.Host[:min(len(r.Host), maxShownHost)] }
