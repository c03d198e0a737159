package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// pipeListener is a listener with one connection.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error { return nil }
func (pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// listen serves one connection with readBody, and answers a minute after the body has arrived. It
// returns the client's end.
func listen(t *testing.T, readTimeout time.Duration) net.Conn {
	t.Helper()
	client, conn := net.Pipe()
	listener := pipeListener{make(chan net.Conn, 1)}
	listener.conns <- conn
	closed := make(chan struct{})
	server := &http.Server{
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(closed)
			}
		},
		ReadTimeout: readTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, p := readBody(w, r, maxUsersBody, new(site.Site))
			if p != nil {
				p.Write(w)
				return
			}
			time.Sleep(time.Minute)
			if r.Context().Err() != nil {
				t.Error("the connection was given up during the answer")
			}
			_, _ = fmt.Fprint(w, len(raw))
		}),
	}
	done := make(chan struct{})
	go func() { // until the end of the test
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = client.Close()
		close(listener.conns)
		<-done
		<-closed
		_ = server.Close()
	})
	return client
}

// sendSlowly sends a request with a body of n bytes, one a second. It returns when the server stops
// reading it.
func sendSlowly(client net.Conn, n int) {
	_, _ = fmt.Fprintf(client, "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: %d\r\n\r\n", n)
	for range n {
		if _, err := io.WriteString(client, " "); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// A body arrives before its key is checked, so any client could hold memory for it forever.
func TestBodyHasToArriveInTime(t *testing.T) {
	for _, test := range []struct {
		name        string
		bytes       int
		readTimeout time.Duration
		status      int
	}{
		{"in time", 20, 0, http.StatusOK},
		{"too slow", 40, 0, http.StatusBadRequest},
		{"large and too slow", 1 << 20, 0, http.StatusBadRequest},
		{"as read_body allows", 40, 2 * time.Minute, http.StatusOK},
		{"slower than read_body allows", 20, 10 * time.Second, http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := listen(t, test.readTimeout)
				defer func() { _ = client.Close() }()
				var sender sync.WaitGroup
				sender.Go(func() { sendSlowly(client, test.bytes) }) // ends with the body, or with the connection
				t.Cleanup(sender.Wait)
				answers := bufio.NewReader(client)
				response, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				if response.StatusCode != test.status || err != nil {
					t.Fatalf("status %d with %q (%v), want %d", response.StatusCode, body, err, test.status)
				}
				if test.status == http.StatusOK {
					if string(body) != fmt.Sprint(test.bytes) {
						t.Errorf("%s bytes came, want %d", body, test.bytes)
					}
					return
				}
				if !response.Close {
					t.Error("the connection stays open, with half a body in it")
				}
				if !strings.Contains(string(body), "bad_body") {
					t.Errorf("the answer is %s", body)
				}
			})
		})
	}
}
