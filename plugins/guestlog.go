package plugins

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

const (
	logLine  = 1 << 10 // bytes in a line; the rest is cut off
	logTail  = 1 << 10 // bytes kept to explain a failure
	logScan  = 2 << 10 // bytes read of one write to stdout or stderr
	logRate  = 10      // lines per second and host
	logBurst = 100     // lines
	abortMax = 256     // UTF-16 units of each text of env.abort
)

// guestLog collects the output of a guest during a call. It is logged after the call, so that a
// slow log does not delay a guest.
type guestLog struct {
	lines   []guestLine
	partial [2][]byte // unfinished lines of stdout and stderr
	tail    []byte
}

type guestLine struct {
	level zapcore.Level
	text  string
}

var logLevels = [...]zapcore.Level{zapcore.DebugLevel, zapcore.InfoLevel, zapcore.WarnLevel, zapcore.ErrorLevel}

// addLine adds one line.
func (l *guestLog) addLine(in *instance, level zapcore.Level, line []byte) {
	line = line[:min(len(line), logLine)]
	l.tail = append(append(l.tail, line...), '\n')
	if over := len(l.tail) - logTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	if !in.pool.logBucket.allow() || !in.pool.plugin.guestLines.allow() {
		in.pool.counters.logDropped.Add(1)
		return
	}
	l.lines = append(l.lines, guestLine{level, cutText(printable(string(line)), logLine)})
}

// addOutput adds what the guest writes to stdout or stderr.
func (l *guestLog) addOutput(in *instance, fd uint32, b []byte) {
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
			l.addLine(in, level, *p)
		}
		*p, b = (*p)[:0], rest
	}
}

// drain returns and removes the collected lines, unfinished ones included.
func (l *guestLog) drain(in *instance) []guestLine {
	for i, level := range [...]zapcore.Level{zapcore.InfoLevel, zapcore.WarnLevel} {
		if len(l.partial[i]) > 0 {
			l.addLine(in, level, l.partial[i])
			l.partial[i] = l.partial[i][:0]
		}
	}
	lines := l.lines
	l.lines = nil
	return lines
}

// pending reports whether drain has anything to return.
func (l *guestLog) pending() bool { return len(l.lines)+len(l.partial[0])+len(l.partial[1]) > 0 }

// lastLines returns the last lines of the guest, for the text of an error.
func (l *guestLog) lastLines() string {
	text := printable(strings.TrimSpace(string(l.tail)))
	return strings.ToValidUTF8(text[max(0, len(text)-logTail):], "")
}

func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// printable makes a module's text safe for a terminal or a log: it escapes unprintable runes, line
// ends included, as in a Go string. So a module can neither forge a line nor control a terminal.
func printable(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// printableAll makes the texts printable in place, and returns them.
func printableAll(texts []string) []string {
	for i, text := range texts {
		texts[i] = printable(text)
	}
	return texts
}

// printableError makes the text of an error printable, because it may contain text of a module.
type printableError struct{ cause error }

// Error implements error.
func (e printableError) Error() string { return printable(e.cause.Error()) }

// Unwrap returns the error itself.
func (e printableError) Unwrap() error { return e.cause }
