package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Secure is a connection over TLS with its own goroutine: it is for idle connections, not for
// measuring.
type Secure struct {
	conn net.Conn
	plan *Plan
	held []byte // read but not handled
}

// DialSecure opens a connection by the plan and returns when it is ready. It does not verify the
// server's certificate.
func DialSecure(ctx context.Context, p *Plan) (_ *Secure, err error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	s := &Secure{conn: conn, plan: p}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(p.handshake())); err != nil {
		return nil, err
	}
	if err := s.upgrade(); err != nil {
		return nil, err
	}
	for _, step := range p.Steps {
		if err := s.await(step.Await); err != nil {
			return nil, err
		}
		if step.Send == "" {
			continue
		}
		if _, err := conn.Write(AppendText(nil, []byte(step.Send))); err != nil {
			return nil, err
		}
	}
	return s, conn.SetDeadline(time.Time{})
}

// Hold answers pings until the connection ends.
func (s *Secure) Hold() error {
	for {
		if _, err := s.next(); err != nil {
			return err
		}
	}
}

// Close ends the connection without a close frame.
func (s *Secure) Close() error { return s.conn.Close() }

func (s *Secure) upgrade() error {
	for {
		if end := bytes.Index(s.held, []byte("\r\n\r\n")); end >= 0 {
			if !bytes.HasPrefix(s.held, []byte("HTTP/1.1 101 ")) {
				return fmt.Errorf("the handshake was answered %.100q", s.held)
			}
			s.held = s.held[end+4:]
			return nil
		}
		if err := s.read(); err != nil {
			return err
		}
	}
}

func (s *Secure) await(begin string) error {
	for begin != "" {
		payload, err := s.next()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(payload, []byte(begin)) {
			break
		}
	}
	return nil
}

// next returns the next text frame.
func (s *Secure) next() ([]byte, error) {
	for {
		op, payload, used, err := nextFrame(s.held)
		if err != nil {
			return nil, err
		}
		if used == 0 {
			if err := s.read(); err != nil {
				return nil, err
			}
			continue
		}
		s.held = s.held[used:]
		switch op {
		case opText:
			return payload, nil
		case opPing:
			if _, err := s.conn.Write(appendFrame(nil, opPong, payload)); err != nil {
				return nil, err
			}
		case opClose:
			return nil, closeError(payload)
		}
	}
}

func (s *Secure) read() error {
	b := make([]byte, 512)
	n, err := s.conn.Read(b)
	s.held = append(s.held, b[:n]...)
	if n > 0 && !errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
