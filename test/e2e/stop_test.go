package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// atOnce is the maximum time that a client may wait for its close frame on a busy machine: half the
// grace period and the shutdown delay, after which clients would be told if something waited for
// them.
const atOnce = 5 * time.Second

// stopsVariable has the number of stops in each cell of the table, instead of stopsByDefault.
// Caddy's apps stop in a different order each time.
const (
	stopsVariable  = "ROLLCALL_STOPS"
	stopsByDefault = 5
)

// occupy makes a request of one kind, which is pending when it returns. release ends it, and fails
// the test if it was not served completely.
type occupy func(t *testing.T, p *process) (release func())

func occupyNothing(*testing.T, *process) func() { return func() {} }

// occupyIdle opens a connection and sends nothing, as browsers do in advance.
func occupyIdle(t *testing.T, p *process) func() {
	t.Helper()
	conn := p.dialSite(t)
	return func() { _ = conn.Close() }
}

// occupyStream reads server-sent events, which never end.
func occupyStream(t *testing.T, p *process) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.site.URL+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = p.of(eventsHost).Host
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("the first event is %q (%v)", line, err)
	}
	return cancel
}

// occupyUpload sends a part of a body to an endpoint of Rollcall. Caddy must answer the request
// although it is stopping.
func occupyUpload(t *testing.T, p *process) func() {
	t.Helper()
	conn := p.dialSite(t)
	fmt.Fprintf(conn, "POST /message/users HTTP/1.1\r\nHost: %s\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", p.site.Host, apiKey)
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" { // the endpoint is reading
		t.Fatalf("the answer to the upload begins with %q (%v)", line, err)
	}
	if _, err := io.WriteString(conn, "{"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := io.WriteString(conn, "}"); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(answers); !strings.Contains(string(rest), "HTTP/1.1 200 OK\r\n") {
			t.Errorf("the upload is answered %q (%v)", rest, err)
		}
	}
}

// eventsHost is the host of a site that streams events.
const eventsHost = "events.example.com"

// dialSite opens a connection to the sites.
func (p *process) dialSite(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.site.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(ws.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// streamSite starts a backend that streams events, and returns a site for it.
func streamSite(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return "http://" + eventsHost + ":%d {\n reverse_proxy " + strings.TrimPrefix(server.URL, "http://") + "\n}\n"
}

// end is the error and the time of a socket's end.
type end struct {
	at  time.Time
	err error
}

// watchEnd reads from a client until its connection ends.
func watchEnd(c *ws.Client) <-chan end {
	ended := make(chan end, 1)
	_ = c.Conn.SetReadDeadline(time.Now().Add(2 * ws.Patience))
	go func() { // ends with the connection, or at the deadline
		for {
			if _, _, err := c.Conn.ReadMessage(); err != nil {
				ended <- end{time.Now(), err}
				return
			}
		}
	}()
	return ended
}

// health asks the admin endpoint for the status of the process; "" if it does not answer.
func (p *process) health() string {
	a, err := ws.Site{URL: p.admin}.Do(http.MethodGet, "/rollcall/health", "")
	if err != nil {
		return ""
	}
	_, status, _ := strings.Cut(a.Body, `"status":"`)
	status, _, _ = strings.Cut(status, `"`)
	return status
}

func (p *process) awaitDraining(t *testing.T) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		if status := p.health(); status != "draining" {
			return fmt.Errorf("health is %q", status)
		}
		return nil
	})
}

// delay is the shutdown_delay of the tests. A client has to be able to connect meanwhile.
const delay = 1500 * time.Millisecond

func TestEveryClientIsToldAtOnce(t *testing.T) {
	stops := stopsByDefault
	if text := os.Getenv(stopsVariable); text != "" {
		var err error
		if stops, err = strconv.Atoi(text); err != nil || stops < 1 {
			t.Fatalf("%s is %q: use a number", stopsVariable, text)
		}
	}
	stream := streamSite(t)
	for _, busy := range []struct {
		name string
		with occupy
	}{
		{"nothing", occupyNothing},
		{"idle connection", occupyIdle},
		{"event stream", occupyStream},
		{"upload", occupyUpload},
	} {
		for _, c := range []struct {
			name, option string
			delay        time.Duration
		}{
			{"default", "", 0},
			{"grace period", "grace_period 10s", 0},
			{"shutdown delay", "shutdown_delay " + delay.String(), delay},
		} {
			t.Run(busy.name+", "+c.name, func(t *testing.T) {
				var slowest time.Duration
				for n := range stops {
					t.Run(strconv.Itoa(n+1), func(t *testing.T) {
						p := start(t, setup{globals: c.option, sites: stream})
						release := busy.with(t, p)
						slowest = max(slowest, stopTellsAll(t, p, c.delay))
						if busy.name != "nothing" { // Caddy waits for the request
							p.awaitDraining(t)
							release()
						}
						if code := p.await(t, ws.Patience); code != 0 {
							t.Errorf("exit code %d", code)
						}
					})
				}
				t.Logf("%d stops, the latest close frame after %s", stops, slowest.Round(time.Millisecond))
			})
		}
	}
}

// stopTellsAll ends a process with SIGTERM and checks that each of its clients gets its close
// frame, in time. It returns how long the last one waited.
func stopTellsAll(t *testing.T, p *process, delay time.Duration) (slowest time.Duration) {
	t.Helper()
	const clients = 8
	var ends []<-chan end
	for range clients {
		c := p.site.Dial(t)
		c.Join(t, "anonymousChat")
		ends = append(ends, watchEnd(c))
	}
	begin := time.Now()
	p.signal(t, syscall.SIGTERM)
	if delay > 0 {
		p.awaitDraining(t)
		ends = append(ends, watchEnd(p.site.Dial(t)))
		p.site.Answer(t, "users", `{}`)
		if late := time.Since(begin); late >= delay {
			t.Fatalf("the machine took %s for a connection: nothing was tested", late)
		}
	}
	for _, ended := range ends {
		e := <-ended
		expectRestart(t, e.err)
		waited := e.at.Sub(begin) - delay
		if waited < 0 {
			t.Errorf("a client gets its close frame %s before the shutdown delay is over", -waited)
		}
		if waited > atOnce {
			t.Errorf("a client is told after %s", waited)
		}
		slowest = max(slowest, waited)
	}
	return slowest
}

func TestEveryWayToStopTellsClientsAtOnce(t *testing.T) {
	const empty = "{\n}\n"
	admin := func(method, path, body string, header ...string) func(*process) error {
		return func(p *process) error {
			_, err := ws.Site{URL: p.admin}.Do(method, path, body, header...)
			return err
		}
	}
	for name, way := range map[string]struct {
		stop func(*process) error
		code int
	}{
		"SIGINT": {func(p *process) error { return p.cmd.Process.Signal(syscall.SIGINT) }, websocket.CloseServiceRestart},
		"/stop":  {admin(http.MethodPost, "/stop", ""), websocket.CloseServiceRestart},
		// The process continues without Rollcall. A shutdown delay is for clients that come back,
		// which is useless here.
		"no configuration": {admin(http.MethodDelete, "/config/", ""), websocket.CloseGoingAway},
		"a configuration without Rollcall": {
			admin(http.MethodPost, "/load", empty, "Content-Type", "text/caddyfile"), websocket.CloseGoingAway,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var option string
			if way.code == websocket.CloseGoingAway {
				option = "shutdown_delay 10s"
			}
			p := start(t, setup{globals: option, sites: streamSite(t)})
			occupyStream(t, p)
			ended := watchEnd(p.site.Dial(t))
			stopped := make(chan error, 1)
			begin := time.Now()
			go func() { stopped <- way.stop(p) }() // ends with the process
			e := <-ended
			var closed *websocket.CloseError
			if !errors.As(e.err, &closed) || closed.Code != way.code {
				t.Errorf("a client ended with %v, want close code %d", e.err, way.code)
			}
			if waited := e.at.Sub(begin); waited > atOnce {
				t.Errorf("a client is told after %s", waited)
			}
			if status := p.health(); status == "ok" {
				t.Error("health is ok")
			}
			p.kill()
			<-stopped
		})
	}
}
