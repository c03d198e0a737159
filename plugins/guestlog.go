package plugins

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

const (
	logLine  = 1 << 10 // bytes of a line; more are cut off
	logTail  = 1 << 10 // bytes that are kept to explain a failure
	logScan  = 2 << 10 // bytes of one write to stdout or stderr that are looked at
	logRate  = 10      // lines a second and host
	logBurst = 100     // lines
	abortMax = 256     // UTF-16 units of each text of env.abort
)

// guestLog collects what a guest says during a call. It is written when the call is over, so that a slow log does not
// hold up a guest.
type guestLog struct {
	lines   []guestLine
	partial [2][]byte // of stdout and stderr, up to the next end of a line
	tail    []byte
}

type guestLine struct {
	level zapcore.Level
	text  string
}

var logLevels = [...]zapcore.Level{zapcore.DebugLevel, zapcore.InfoLevel, zapcore.WarnLevel, zapcore.ErrorLevel}

// add takes one line.
func (l *guestLog) add(in *instance, level zapcore.Level, line []byte) {
	line = line[:min(len(line), logLine)]
	l.tail = append(append(l.tail, line...), '\n')
	if over := len(l.tail) - logTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	if !in.pool.logBucket.take() || !in.pool.plugin.guestLines.take() {
		in.pool.counters.logDropped.Add(1)
		return
	}
	l.lines = append(l.lines, guestLine{level, cutText(printable(string(line)), logLine)})
}

// write takes what the guest writes to stdout or stderr.
func (l *guestLog) write(in *instance, fd uint32, b []byte) {
	level, p := zapcore.InfoLevel, &l.partial[fd-1]
	if fd == 2 {
		level = zapcore.WarnLevel
	}
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		*p = append(*p, line[:min(len(line), logLine-len(*p))]...)
		if !whole {
			return
		}
		if len(*p) > 0 {
			l.add(in, level, *p)
		}
		*p, b = (*p)[:0], rest
	}
}

// take returns what was collected, and what is left of lines without an end.
func (l *guestLog) take(in *instance) []guestLine {
	for i, level := range [...]zapcore.Level{zapcore.InfoLevel, zapcore.WarnLevel} {
		if len(l.partial[i]) > 0 {
			l.add(in, level, l.partial[i])
			l.partial[i] = l.partial[i][:0]
		}
	}
	lines := l.lines
	l.lines = nil
	return lines
}

// pending reports whether take has anything to do.
func (l *guestLog) pending() bool { return len(l.lines)+len(l.partial[0])+len(l.partial[1]) > 0 }

// said returns the last lines of the guest, for the text of an error.
func (l *guestLog) said() string {
	text := printable(strings.TrimSpace(string(l.tail)))
	return strings.ToValidUTF8(text[max(0, len(text)-logTail):], "")
}

func hostLog(in *instance, stack []uint64) {
	level := logLevels[min(uint32(stack[0]), uint32(len(logLevels)-1))]
	ptr, size := uint32(stack[1]), uint32(stack[2])
	text, ok := in.view(ptr, size)
	if !ok {
		panic(fmt.Errorf("rollcall.log: %s at %d outside the memory of %d bytes", plural.Of(size, "byte"), ptr, in.linear.Size()))
	}
	in.log.add(in, level, text)
}

// hostRequest copies the body of the request. Outside members and shape there is none, and its length is 0.
func hostRequest(in *instance, stack []uint64) {
	ptr, size := uint32(stack[0]), uint32(stack[1])
	if len(in.request) > 0 && uint64(len(in.request)) <= uint64(size) {
		b, ok := in.view(ptr, uint32(len(in.request)))
		if !ok {
			panic(fmt.Errorf("rollcall.request: %s at %d outside the memory of %d bytes",
				plural.Of(len(in.request), "byte"), ptr, in.linear.Size()))
		}
		copy(b, in.request)
	}
	stack[0] = uint64(len(in.request))
}

// hostAbort is what AssemblyScript calls when it cannot go on.
func hostAbort(in *instance, stack []uint64) {
	text := fmt.Sprintf("abort: %s in %s:%d:%d", in.utf16(uint32(stack[0])), in.utf16(uint32(stack[1])),
		uint32(stack[2]), uint32(stack[3]))
	in.log.add(in, zapcore.ErrorLevel, []byte(text))
	panic(fmt.Errorf("%s", text))
}

// utf16 reads a string of AssemblyScript: UTF-16, its length in bytes before it.
func (in *instance) utf16(ptr uint32) string {
	if ptr < 4 {
		return "(nothing)"
	}
	head, ok := in.view(ptr-4, 4)
	if !ok {
		return "(outside the memory)"
	}
	size := binary.LittleEndian.Uint32(head) / 2
	b, ok := in.view(ptr, 2*min(size, abortMax))
	if !ok {
		return "(outside the memory)"
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // rate in tokens a second

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func newBucket(rate, burst float64) *bucket { return &bucket{rate: rate, burst: burst, tokens: burst} }

func (b *bucket) take() bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
