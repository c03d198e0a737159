package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestASlowReaderAmongManyHarmsNobody stops one of a thousand listeners from reading while messages
// come. It is closed as slow, and each message reaches all others, in order. The delays, before and
// meanwhile, are only logged.
func TestASlowReaderAmongManyHarmsNobody(t *testing.T) {
	const (
		fast     = 1000
		messages = 100
		pause    = 25 * time.Millisecond // far below the maximum rate
	)
	p := start(t, setup{options: "limits {\n\tframes_per_second 100000\n}"})
	listeners := make([]*listener, fast)
	var group sync.WaitGroup
	defer func() {
		for _, l := range listeners {
			_ = l.client.Conn.Close()
		}
		group.Wait()
	}()
	for i := range listeners {
		listeners[i] = &listener{client: p.site.Dial(t)}
		listeners[i].client.Join(t, "anonymous-crowd")
		group.Go(listeners[i].read) // ends with the connection
	}
	sender := p.site.Dial(t)
	sender.Join(t, "anonymous-crowd")
	group.Go(func() { discard(sender.Conn) }) // ends with the connection
	defer sender.Conn.Close()
	sent := 0
	send := func() time.Duration {
		t.Helper()
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for range messages {
			sender.Send(t, fmt.Sprintf(`{"type":"send","channels":["anonymous-crowd"],"message":{"n":%d,"at":%d}}`,
				sent, time.Now().UnixNano()))
			sent++
			<-tick.C
		}
		ws.Poll(t, 2*ws.Patience, func() error {
			for i, l := range listeners {
				if err := l.has(sent); err != nil {
					return fmt.Errorf("listener %d: %w", i, err)
				}
			}
			return nil
		})
		var times []time.Duration
		for _, l := range listeners {
			times = append(times, l.take()...)
		}
		return percentile(times, 99)
	}
	before := send()

	slow := p.site.Dial(t)
	slow.Join(t, "anonymous-crowd")
	slow.Join(t, "anonymous-flood")
	// The kernel buffers megabytes for it, so it gets more messages than the others.
	const tooSlow = `caddy_rollcall_disconnects_total{host="portal.example.com",reason="slow"}`
	flood := fmt.Sprintf(`{"channels":["anonymous-flood"],"message":{"fill":%q}}`, strings.Repeat("x", 60_000))
	closed := make(chan error, 1)
	group.Go(func() {
		for range 1000 {
			if _, err := p.site.Do(http.MethodPost, "/message/sendmessage", flood, "X-Api-Key", apiKey); err != nil {
				closed <- err
				return
			}
			a, err := ws.Site{URL: p.admin}.Do(http.MethodGet, "/metrics", "")
			if err == nil && strings.Contains(a.Body, tooSlow+" 1") {
				closed <- awaitClose(slow.Conn)
				return
			}
		}
		closed <- errors.New("60 MB did not fill its queue")
	})
	beside := send()
	if err := <-closed; !websocket.IsCloseError(err, 4100) {
		t.Errorf("the slow reader was closed with %v, want 4100", err)
	}
	if got := p.metric(t, tooSlow); got != 1 {
		t.Errorf("%v slow readers were counted", got)
	}
	for i, l := range listeners {
		if l.wrong.Load() {
			t.Errorf("listener %d got messages out of order", i)
		}
	}
	t.Logf("p99 of %d listeners: %s, and %s with one that does not read", fast, before, beside)
}

// discard reads to the end of the connection.
func discard(conn *websocket.Conn) {
	_ = conn.SetReadDeadline(time.Time{})
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

// awaitClose reads to the end of the connection, and returns the error.
func awaitClose(conn *websocket.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(ws.Patience))
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return err
		}
	}
}

// listener counts messages, and records how long each took.
type listener struct {
	client *ws.Client
	got    atomic.Int64
	wrong  atomic.Bool
	end    atomic.Pointer[error] // error that ended reading

	mu    sync.Mutex
	times []time.Duration
}

func (l *listener) read() {
	_ = l.client.Conn.SetReadDeadline(time.Time{})
	for {
		_, b, err := l.client.Conn.ReadMessage()
		if err != nil {
			l.end.Store(&err)
			return
		}
		// Decoding JSON a thousand times for each message would dominate the measurement.
		_, rest, ok := bytes.Cut(b, []byte(`"message":{"n":`))
		if !ok {
			continue
		}
		var n, at int64
		if _, err := fmt.Sscanf(string(rest[:min(len(rest), 40)]), `%d,"at":%d`, &n, &at); err != nil {
			l.wrong.Store(true)
		}
		l.mu.Lock()
		l.times = append(l.times, time.Duration(time.Now().UnixNano()-at))
		l.mu.Unlock()
		if l.got.Add(1)-1 != n {
			l.wrong.Store(true)
		}
	}
}

// has reports whether the listener has received all messages.
func (l *listener) has(sent int) error {
	if n := int(l.got.Load()); n != sent {
		if err := l.end.Load(); err != nil {
			return *err
		}
		return fmt.Errorf("it has %d of %d messages", n, sent)
	}
	return nil
}

// take returns the delays since the last call.
func (l *listener) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := l.times
	l.times = nil
	return times
}
