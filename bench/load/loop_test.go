package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience is the longest wait for anything here.
const patience = 20 * time.Second

// listen runs script for each connection, after its handshake. It returns the plan for connecting.
func listen(t *testing.T, script func(c net.Conn, r *bufio.Reader) error) *Plan {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the script
				defer c.Close()
				r := bufio.NewReader(c)
				if _, err := http.ReadRequest(r); err != nil {
					t.Errorf("reading the handshake: %v", err)
					return
				}
				if err := script(c, r); err != nil {
					t.Errorf("the server: %v", err)
				}
			}()
		}
	}()
	return &Plan{
		Address: l.Addr().String(), Path: "/", Host: "localhost",
		Steps: []Step{{Await: "welcome", Send: "join"}, {Await: "joined"}},
	}
}

func newLoop(t *testing.T) (*Loop, context.Context) {
	t.Helper()
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return l, ctx
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// expect reads a frame of the client.
func expect(r *bufio.Reader, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if string(got) != string(want) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func TestLoopCountsMessagesHoweverTheyArrive(t *testing.T) {
	const conns, messages = 20, 7
	plan := listen(t, func(c net.Conn, r *bufio.Reader) error {
		text := switching + string(fromServer("welcome"))
		for i := range text { // one byte at a time
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return err
			}
		}
		if err := expect(r, AppendText(nil, []byte("join"))); err != nil {
			return err
		}
		all := string(fromServer("somebody else")) + string(fromServer("joined")) + "\x89\x04ping"
		for range messages - 2 {
			all += string(fromServer(`{"text":"~` + strings.Repeat("x", 1000) + `"}`))
		}
		all += string(fromServer("{\"text\":\"~\"}\n{\"text\":\"~\"}"))
		for len(all) > 0 {
			n := min(len(all), 700)
			if _, err := io.WriteString(c, all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
		if err := expect(r, appendFrame(nil, opPong, []byte("ping"))); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, r) // until the client leaves
		return nil
	})
	l, ctx := newLoop(t)
	all, err := l.OpenAll(ctx, conns, func(int) *Plan { return plan })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.PollUntil(ctx, func() bool { return l.Messages >= conns*messages }); err != nil {
		t.Fatalf("%d messages: %v", l.Messages, err)
	}
	for _, c := range all {
		if c.Messages != messages || !c.Ready() {
			t.Errorf("connection %d has %d messages, ready %t, want %d", c.Number, c.Messages, c.Ready(), messages)
		}
	}
}

func TestLoopAnswersPingsHoweverTheyArrive(t *testing.T) {
	for name, frame := range map[string]string{
		"alone":   "{}",
		"first":   "{}\n{\"text\":\"~\"}",
		"between": "{\"text\":\"~\"}\n{}\n{\"text\":\"~\"}",
		"last":    "{\"text\":\"~\"}\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			answered := make(chan error, 1)
			plan := listen(t, func(c net.Conn, r *bufio.Reader) error {
				if _, err := io.WriteString(c, switching+string(fromServer("{}x"))+string(fromServer(frame))); err != nil {
					return err
				}
				answered <- expect(r, AppendText(nil, []byte("pong")))
				_, _ = io.Copy(io.Discard, r) // until the client leaves
				return nil
			})
			plan.Steps, plan.Ping, plan.Pong = nil, "{}", "pong"
			l, ctx := newLoop(t)
			if _, err := l.OpenAll(ctx, 1, func(int) *Plan { return plan }); err != nil {
				t.Fatal(err)
			}
			if err := l.PollUntil(ctx, func() bool { return len(answered) > 0 }); err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if err := <-answered; err != nil {
				t.Errorf("the answer: %v", err)
			}
			if want := strings.Count(frame, "~"); l.Messages != want {
				t.Errorf("%d messages, want %d", l.Messages, want)
			}
		})
	}
}

func TestLoopSaysHowAConnectionWasLost(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"refused":  {"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable"},
		"closed":   {switching + "\x88\x06\x10\x04slow", "closed with 4100 slow"},
		"no frame": {switching + "\x01\x01x", errFrame.Error()},
		"gone":     {switching, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := listen(t, func(c net.Conn, _ *bufio.Reader) error {
				_, err := io.WriteString(c, test.answer)
				return err
			})
			l, ctx := newLoop(t)
			_, err := l.OpenAll(ctx, 1, func(int) *Plan { return plan })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if l.Len() != 0 {
				t.Errorf("%d connections are open", l.Len())
			}
		})
	}
}

func TestDivideFillsNoProcessBeyondItsLimit(t *testing.T) {
	for _, n := range []int{1, 99, 100, 101, 1000, 12345} {
		total := 0
		for _, part := range Divide(n, 100) {
			if total += part; part < 1 || part > 100 {
				t.Errorf("%d: a part of %d", n, part)
			}
		}
		if total != n {
			t.Errorf("%d: the parts are %d", n, total)
		}
	}
}
