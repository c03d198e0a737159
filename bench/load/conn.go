package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Conn is a connection of a loop. Only the goroutine of the loop may use it.
type Conn struct {
	// Number is the connection's number in the loop, from 0 in the order of Open.
	Number int
	// Messages is the number of messages received.
	Messages int

	loop     *Loop
	plan     *Plan
	fd       int
	upgraded bool
	step     int    // index of the next step of the plan
	tail     []byte // start of an incomplete frame
	out      []byte // data that the socket has not accepted yet
	closed   bool
}

// Ready reports whether all steps of the plan are done.
func (c *Conn) Ready() bool { return c.upgraded && c.step == len(c.plan.Steps) && !c.closed }

// Send sends a text frame.
func (c *Conn) Send(payload string) { c.Write(AppendText(nil, []byte(payload))) }

// Write sends frames. It keeps what the socket does not accept at once, and sends it later.
func (c *Conn) Write(frames []byte) {
	if c.closed {
		return
	}
	if len(c.out) == 0 {
		n, err := unix.Write(c.fd, frames)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			c.loop.lose(c, fmt.Errorf("writing: %w", err))
			return
		}
		if n = max(n, 0); n == len(frames) {
			return
		}
		frames = frames[n:]
		c.loop.watch(c, unix.EPOLLIN|unix.EPOLLOUT)
	}
	c.out = append(c.out, frames...)
}

// flush sends the data that Write kept.
func (c *Conn) flush() {
	n, err := unix.Write(c.fd, c.out)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		c.loop.lose(c, fmt.Errorf("writing: %w", err))
		return
	}
	if c.out = c.out[max(n, 0):]; len(c.out) == 0 {
		c.out = nil
		c.loop.watch(c, unix.EPOLLIN)
	}
}

// take handles the complete frames in b, and returns their length.
func (c *Conn) take(b []byte) (int, error) {
	used := 0
	if !c.upgraded {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return 0, nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			return 0, fmt.Errorf("the handshake was answered %q", b[:bytes.IndexByte(b, '\r')])
		}
		used = end + 4
		c.upgraded = true
		c.proceed(nil)
	}
	for !c.closed {
		op, payload, n, err := nextFrame(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		if err := c.frame(op, payload); err != nil {
			return used, err
		}
	}
	return used, nil
}

func (c *Conn) frame(op byte, payload []byte) error {
	switch op {
	case opText:
		c.text(payload)
	case opPing:
		c.Write(appendFrame(nil, opPong, payload))
	case opClose:
		return closeError(payload)
	}
	return nil
}

func (c *Conn) text(payload []byte) {
	if c.loop.OnText != nil {
		c.loop.OnText(c, payload)
	}
	if c.step < len(c.plan.Steps) {
		c.proceed(payload)
		return
	}
	if c.plan.Ping != "" && hasLine(payload, c.plan.Ping) {
		c.Send(c.plan.Pong)
		if len(payload) == len(c.plan.Ping) {
			return
		}
	}
	l := c.loop
	l.Bytes += len(payload)
	if n := bytes.Count(payload, []byte{Mark}); n > 0 {
		c.Messages += n
		l.Messages += n
		if l.OnMessages != nil {
			l.OnMessages(c, n)
		}
	}
	if len(l.Answer) > 0 {
		l.Answers += bytes.Count(payload, l.Answer)
	}
}

// hasLine reports whether a line of a frame is the text. A busy server puts several of its frames,
// with a ping among them, into one, each as a line.
func hasLine(payload []byte, text string) bool {
	for line := range bytes.Lines(payload) {
		if string(bytes.TrimSuffix(line, []byte("\n"))) == text {
			return true
		}
	}
	return false
}

// proceed does the steps that a frame allows; nil is the end of the handshake. It skips frames that
// no step awaits, because a server may send others in between.
func (c *Conn) proceed(payload []byte) {
	steps := c.plan.Steps
	if payload != nil {
		if !bytes.HasPrefix(payload, []byte(steps[c.step].Await)) {
			c.loop.other = append(c.loop.other[:0], payload...)
			return
		}
		c.sendStep(payload)
	}
	for c.step < len(steps) && steps[c.step].Await == "" {
		c.sendStep(payload)
	}
	if c.step == len(steps) {
		c.loop.opening--
	}
}

func (c *Conn) sendStep(frame []byte) {
	step := c.plan.Steps[c.step]
	c.step++
	switch {
	case step.Answer != nil:
		c.Send(step.Answer(frame))
	case step.Send != "":
		c.Send(step.Send)
	}
}

// closeError describes how a server ended a connection.
func closeError(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed without a code")
	}
	return fmt.Errorf("closed with %d %s", binary.BigEndian.Uint16(payload), payload[2:])
}
