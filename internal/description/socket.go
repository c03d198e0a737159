package description

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// Socket compares the frames of a connection with docs/asyncapi.yaml. Its zero value is a
// connection without frames. Goroutines may share it.
type Socket struct {
	mu     sync.Mutex
	broken []string // frames of the client that break their schema, and are not refused yet
}

// Sent notes a text frame of the client. One that breaks its schema must be refused, see Accepted.
func (s *Socket) Sent(text string) {
	if len(text) > maxBody {
		return
	}
	f, err := check(mustLoad().sent, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.broken = append(s.broken, fmt.Sprintf("%.500s: %v", text, err))
		return
	}
	noteSeen("frame " + f.name)
}

// Received checks a text frame of Rollcall.
func (s *Socket) Received(text string) error {
	if len(text) > maxBody {
		return nil
	}
	f, err := check(mustLoad().received, text)
	if err != nil {
		return fmt.Errorf("a frame differs from docs/asyncapi.yaml: %w\n%.2000s", err, text)
	}
	noteSeen("frame " + f.name)
	if f.name == "error" {
		s.refuse()
	}
	return nil
}

func (s *Socket) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.broken) > 0 {
		s.broken = s.broken[1:]
	}
}

// Accepted returns an error if a frame of the client breaks its schema, and no error frame has come
// for it.
func (s *Socket) Accepted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.broken) == 0 {
		return nil
	}
	return fmt.Errorf("no error frame has come for a frame that differs from docs/asyncapi.yaml: %s", s.broken[0])
}

// check returns the frame of a text.
func check(frames map[string]*frame, text string) (*frame, error) {
	var head struct{ Type any }
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return nil, err
	}
	kind, _ := head.Type.(string)
	f := frames[kind]
	if f == nil {
		return nil, errors.New("its type is unknown")
	}
	return f, validate(f.schema, text)
}
