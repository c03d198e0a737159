package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Crowd is many connections. A goroutine for each counts its frames and records how it ends.
type Crowd struct {
	Members []*Member
	wg      sync.WaitGroup
}

// Member is one connection of a crowd.
type Member struct {
	conn *websocket.Conn

	joined, presence, pongs, other atomic.Int64

	// mu guards writes to conn and the fields below.
	mu    sync.Mutex
	end   error // set when reading has ended
	ended bool
}

// Plan configures how a member connects, and what it joins.
type Plan struct {
	Request Request
	// Joins are frames; each must be answered with joined.
	Joins []string
}

// Gather opens n connections, several at a time, has each join its channels, and returns when all
// have joined.
func Gather(t testing.TB, n int, plan func(i int) Plan) *Crowd {
	t.Helper()
	c := &Crowd{Members: make([]*Member, n)}
	t.Cleanup(c.Leave)
	const atATime = 16
	next, failed := atomic.Int64{}, make(chan error, atATime)
	var dialers sync.WaitGroup
	for range atATime {
		dialers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				m, err := join(plan(i))
				if err != nil {
					failed <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
				c.Members[i] = m
				c.wg.Go(m.read)
			}
		})
	}
	dialers.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	Poll(t, 3*Patience, func() error {
		for i, m := range c.Members {
			if got, want := int(m.joined.Load()), len(plan(i).Joins); got != want {
				return fmt.Errorf("connection %d was answered %d of %d joins (%w)", i, got, want, m.failure())
			}
		}
		return nil
	})
	return c
}

func join(p Plan) (*Member, error) {
	conn, resp, err := dial(p.Request)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w (%s)", err, status(resp))
	}
	m := &Member{conn: conn}
	for _, frame := range p.Joins {
		if err := m.send(frame); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func status(r *http.Response) string {
	if r == nil {
		return "no response"
	}
	return r.Status
}

func (m *Member) send(frame string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.conn.SetWriteDeadline(time.Now().Add(Patience))
	return m.conn.WriteMessage(websocket.TextMessage, []byte(frame))
}

// read ends with the connection.
func (m *Member) read() {
	for {
		_, p, err := m.conn.ReadMessage()
		if err != nil {
			m.mu.Lock()
			m.end, m.ended = err, true
			m.mu.Unlock()
			_ = m.conn.Close()
			return
		}
		var frame struct{ Type string }
		_ = json.Unmarshal(p, &frame) // a frame that is not JSON has no type, and counts as other
		switch frame.Type {
		case "joined":
			m.joined.Add(1)
		case "presence":
			m.presence.Add(1)
		case "pong":
			m.pongs.Add(1)
		case "welcome":
		default:
			m.other.Add(1)
		}
	}
}

func (m *Member) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return m.end
	}
	return errors.New("it is open")
}

// Settle has every member send a ping, and waits for all answers. Then all earlier frames of the
// server are counted. Settle fails if a connection is closed.
func (c *Crowd) Settle(t testing.TB) {
	t.Helper()
	want := make([]int64, len(c.Members))
	for i, m := range c.Members {
		want[i] = m.pongs.Load() + 1
		if err := m.send(`{"type":"ping"}`); err != nil {
			t.Fatalf("connection %d: %v (%v)", i, err, m.failure())
		}
	}
	Poll(t, 2*Patience, func() error {
		for i, m := range c.Members {
			if m.pongs.Load() < want[i] {
				return fmt.Errorf("connection %d has no answer: %w", i, m.failure())
			}
		}
		return nil
	})
}

// Heard returns the number of presence frames so far, and of frames that are not answers.
func (c *Crowd) Heard() (presence, other int64) {
	for _, m := range c.Members {
		presence += m.presence.Load()
		other += m.other.Load()
	}
	return presence, other
}

// Open returns how many connections are open.
func (c *Crowd) Open() int {
	n := 0
	for _, m := range c.Members {
		m.mu.Lock()
		if !m.ended {
			n++
		}
		m.mu.Unlock()
	}
	return n
}

// AwaitEnds waits until all connections have ended, and returns their errors.
func (c *Crowd) AwaitEnds(t testing.TB, patience time.Duration) []error {
	t.Helper()
	Poll(t, patience, func() error {
		if n := c.Open(); n > 0 {
			return fmt.Errorf("%d connections are open", n)
		}
		return nil
	})
	ends := make([]error, len(c.Members))
	for i, m := range c.Members {
		ends[i] = m.failure()
	}
	return ends
}

// Leave closes all connections without a close frame, and waits for the readers.
func (c *Crowd) Leave() {
	for _, m := range c.Members {
		if m != nil {
			_ = m.conn.Close()
		}
	}
	c.wg.Wait()
}
