package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// backendOutage is how long the backend is down. A minute would be the same: queued messages are on
// disk.
const backendOutage = 8 * time.Second

// notebook is a backend that records the messages of each channel, each ID once.
type notebook struct {
	mu     sync.Mutex
	ids    map[string]bool
	notes  map[string][]string
	server *httptest.Server
}

// open starts to listen on the address.
func (n *notebook) open(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	n.server = httptest.NewUnstartedServer(n)
	_ = n.server.Listener.Close()
	n.server.Listener = l
	n.server.Start()
}

func (n *notebook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var c struct {
		ID, Channel string
		Message     struct{ N int }
	}
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ids[c.ID] {
		n.ids[c.ID] = true
		n.notes[c.Channel] = append(n.notes[c.Channel], fmt.Sprint(c.Message.N))
	}
}

func (n *notebook) of(channel string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.notes[channel], " ")
}

// TestBackendThatIsDownGetsEverything stops the backend while messages are sent, and kills Caddy
// meanwhile. In the end, the backend has all messages that were answered with sent, in order.
func TestBackendThatIsDownGetsEverything(t *testing.T) {
	t.Parallel()
	n := &notebook{ids: make(map[string]bool), notes: make(map[string][]string)}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n.open(t, address)
	defer func() { n.server.Close() }()

	p := newPod(t, podNames(1, "us-east-1")[0], "", "")
	p.setup.globals = "grace_period 1s"
	p.setup.options += fmt.Sprintf("\nbackend http://%s/hook {\n\tsecret 0123456789abcdef0123\n}\nlimits {\n\tframes_per_second 10000\n}", address)
	p.run(t)
	assigned(t, p.site, "adduser", `[{"id":"USER_1","channels":[{"name":"copied","mode":"listen"},{"name":"kept","mode":"receive"}]}]`)
	channels := []string{"copied", "kept"}
	want := make(map[string][]string)
	next := 0
	send := func(c *ws.Client, times int) {
		t.Helper()
		for range times {
			channel := channels[next%2]
			c.Send(t, fmt.Sprintf(`{"type":"send","id":%d,"channels":[%q],"message":{"n":%d}}`, next, channel, next))
			sent := fmt.Sprintf(`{"type":"sent","id":%d}`, next)
			for c.Next(t) != sent { // its own message comes, too
			}
			want[channel] = append(want[channel], fmt.Sprint(next))
			next++
		}
	}
	connect := func() *ws.Client {
		t.Helper()
		c := p.site.Dial(t, bearer(t, "USER_1")...)
		for _, channel := range channels {
			c.Expect(t, joinedFrame(channel))
		}
		return c
	}
	c := connect()
	send(c, 100)
	n.server.Close()
	down := time.Now()
	send(c, 100)
	p.again(t, syscall.SIGKILL)
	c = connect()
	send(c, 100)
	for time.Since(down) < backendOutage {
		send(c, 2)
	}
	n.open(t, address)
	send(c, 100)
	ws.Poll(t, 3*time.Minute, func() error { // the pause between two attempts is up to a minute
		for channel, all := range want {
			if got := n.of(channel); got != strings.Join(all, " ") {
				return fmt.Errorf("the backend has %q of %s, want %q", got, channel, all)
			}
		}
		return nil
	})
	t.Logf("%d messages, down for %s", next, backendOutage)
}
