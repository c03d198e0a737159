package bus

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A line is logged once in a window, and no more lines than the limit in all: outsiders can make
// the server complain as often as they like, and a pod that is away would be complained of every
// second.
const (
	logWindow   = 10 * time.Second
	logLimit    = 20
	maxLogBytes = 512
)

// limiter says which lines are logged.
type limiter struct {
	mu         sync.Mutex
	since      time.Time           // of the window; guarded by mu
	seen       map[string]struct{} // in the window; guarded by mu
	suppressed uint64              // since the last line that was logged; guarded by mu
}

func newLimiter() *limiter { return &limiter{seen: make(map[string]struct{})} }

// allow reports whether to log a line now, and how many were not since the last one. Lines that
// differ in their digits only are the same: ports, attempts and numbers of connections.
func (l *limiter) allow(line string, now time.Time) (ok bool, suppressed uint64) {
	key := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= logWindow {
		l.since = now
		clear(l.seen)
	}
	if _, again := l.seen[key]; again || len(l.seen) >= logLimit {
		l.suppressed++
		return false, 0
	}
	l.seen[key] = struct{}{}
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}

// serverLog is the log of the server inside of this process. What the server takes for fatal ends
// it in its own program; here it is an error that the start finds.
type serverLog struct {
	logger *zap.Logger
	limit  *limiter
	hide   *strings.Replacer
	errors atomic.Uint64
	fatal  chan error // the first that was
}

func newServerLog(s settings) *serverLog {
	return &serverLog{
		logger: s.logger.Named("nats"),
		limit:  newLimiter(),
		hide:   s.hide,
		fatal:  make(chan error, 1),
	}
}

// Noticef is for what the server does in its normal course: a dozen lines at the start, and one for
// each connection.
func (l *serverLog) Noticef(format string, v ...any) { l.log(zapcore.DebugLevel, format, v) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.log(zapcore.WarnLevel, format, v) }

// firstTry begins the line of the server about a pod that it does not reach at once.
const firstTry = "Error trying to connect to route (attempt 1)"

// Errorf logs an error. That a pod is not there at the first try is none: one is started first, and
// others come later. The server says it again after reportEvery tries.
func (l *serverLog) Errorf(format string, v ...any) {
	if strings.HasPrefix(fmt.Sprintf(format, v...), firstTry) {
		l.log(zapcore.DebugLevel, format, v)
		return
	}
	l.errors.Add(1)
	l.log(zapcore.ErrorLevel, format, v)
}

// Debugf is not called: the server is told that debugging is off.
func (l *serverLog) Debugf(format string, v ...any) { l.log(zapcore.DebugLevel, format, v) }

// Tracef is not called: it would show payloads.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf keeps the error for the start, less the one that is expected.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, noClientsAddress) {
		return
	}
	err := fmt.Errorf("%s", l.hide.Replace(text))
	for _, a := range v {
		if cause, ok := a.(error); ok {
			err = cause
		}
	}
	select {
	case l.fatal <- err:
	default:
	}
}

func (l *serverLog) log(level zapcore.Level, format string, v []any) {
	if !l.logger.Core().Enabled(level) {
		return
	}
	text := l.hide.Replace(fmt.Sprintf(format, v...))
	if len(text) > maxLogBytes {
		text = text[:maxLogBytes]
	}
	logLimited(l.logger, l.limit, level, strings.ToValidUTF8(text, "?"))
}

// logLimited logs the line unless it was a moment ago.
func logLimited(logger *zap.Logger, limit *limiter, level zapcore.Level, line string, fields ...zap.Field) {
	if level > zapcore.DebugLevel {
		ok, suppressed := limit.allow(line, time.Now())
		if !ok {
			return
		}
		if suppressed > 0 {
			fields = append(fields, zap.Uint64("not_logged", suppressed))
		}
	}
	logger.Log(level, line, fields...)
}
