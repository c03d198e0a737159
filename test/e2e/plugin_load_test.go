package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// load is the load of a busy site: backends ask, and visitors join and leave. It keeps errors.
type load struct {
	requests, joins atomic.Int64

	ended chan struct{} // closed to end it
	wg    sync.WaitGroup
	mu    sync.Mutex // guards errs
	errs  []error
}

func startLoad(t *testing.T, p *process, rooms int) *load {
	t.Helper()
	l := &load{ended: make(chan struct{})}
	for i := range 2 {
		l.repeat(func(n int) error {
			body := fmt.Sprintf(`{"channel":"room-%d"}`, n%rooms)
			if n%50 == i {
				body = `{}`
			}
			_, err := askVersion(p.site, body)
			l.requests.Add(1)
			return err
		})
		c := p.site.Dial(t)
		l.repeat(func(n int) error {
			l.joins.Add(1)
			return joinAndLeave(c.Conn, fmt.Sprintf("open-lobby-%d-%d", i, n%7))
		})
	}
	t.Cleanup(func() { l.stop(t) })
	return l
}

// repeat calls the function from time to time until the load is stopped, or the function fails.
func (l *load) repeat(once func(n int) error) {
	l.wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			if err := once(n); err != nil {
				l.mu.Lock()
				l.errs = append(l.errs, err)
				l.mu.Unlock()
				return
			}
			select {
			case <-l.ended:
				return
			case <-tick.C:
			}
		}
	})
}

// stop ends the load and reports errors.
func (l *load) stop(t *testing.T) {
	t.Helper()
	select {
	case <-l.ended:
		return
	default:
	}
	close(l.ended)
	l.wg.Wait()
	for _, err := range l.errs {
		t.Error(err)
	}
}

// joinAndLeave joins a channel that the plugin alone opens to visitors, and leaves it.
func joinAndLeave(conn *websocket.Conn, channel string) error {
	for _, step := range [][2]string{{"join", "joined"}, {"leave", "left"}} {
		_ = conn.SetWriteDeadline(time.Now().Add(ws.Patience))
		if err := conn.WriteJSON(map[string]string{"type": step[0], "channel": channel}); err != nil {
			return fmt.Errorf("%s %s: %w", step[0], channel, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("%s %s: %w", step[0], channel, err)
		}
		var got struct{ Type, Channel string }
		if json.Unmarshal(frame, &got) != nil || got.Type != step[1] || got.Channel != channel {
			return fmt.Errorf("%s %s was answered %s", step[0], channel, frame)
		}
	}
	return nil
}

// askVersion asks for users and returns the version of the plugin that made the whole answer.
func askVersion(s ws.Site, body string) (string, error) {
	text, err := s.Ask("users", body)
	if err != nil {
		return "", err
	}
	var got struct {
		Version string
		Answer  map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		return "", fmt.Errorf("users %s: %w: %.200s", body, err, text)
	}
	if got.Version != "A" && got.Version != "B" {
		return "", fmt.Errorf("users %s: the answer was not shaped: %.200s", body, text)
	}
	rooms := 0
	for name, content := range got.Answer {
		if !strings.HasPrefix(name, "room-") {
			continue // an open channel has a number
		}
		rooms++
		var users []struct{ ID, Email, Version string }
		if err := json.Unmarshal(content, &users); err != nil {
			return "", fmt.Errorf("users %s: %w: %.200s", body, err, content)
		}
		if len(users) == 0 {
			return "", fmt.Errorf("users %s: %s is empty", body, name)
		}
		for _, u := range users {
			if u.Version != got.Version {
				return "", fmt.Errorf("users %s: version %q made the entry of %s, %q the answer", body, u.Version, u.ID, got.Version)
			}
		}
	}
	if rooms == 0 {
		return "", fmt.Errorf("users %s: no room is listed: %.200s", body, text)
	}
	return got.Version, nil
}
