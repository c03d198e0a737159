package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// jobVariable, with a job in JSON, makes the test binary a client process. Its connections cost the
// test nothing, and may be in another network namespace.
const jobVariable = "ROLLCALL_TEST_JOB"

// job is the task of a client process: it opens connections, joins a channel with each, writes
// "ready", and keeps them until its standard input is closed.
type job struct {
	URL     string
	Host    string
	Header  http.Header
	Channel string
	N       int
	Pusher  bool // the clients speak Pusher's protocol, in a channel without prefix
}

// clients is a running client process.
type clients struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

// begin starts a client process, and returns when it is ready. prefix is a command that runs it.
func begin(t *testing.T, j job, prefix ...string) *clients {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(prefix), self)
	c := &clients{cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	ready := make(chan error, 1)
	go func() { // ends with the process
		defer close(c.ended)
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err == nil && line != "ready\n" {
			err = errors.New(line)
		}
		ready <- err
		_ = c.cmd.Wait()
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("the client process: %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the client process is not ready after two minutes")
	}
	return c
}

// end makes the process end.
func (c *clients) end() {
	_ = c.stdin.Close()
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// work is the main function of a client process. It returns the exit code.
func work(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return 1
	}
	conns, err := j.open()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		_ = c.NetConn().Close()
	}
	return 0
}

func (j job) open() ([]*websocket.Conn, error) {
	const atATime = 8
	conns := make([]*websocket.Conn, j.N)
	var (
		next  atomic.Int64
		group sync.WaitGroup
		first = make(chan error, atATime)
	)
	for range atATime {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < j.N; i = int(next.Add(1)) - 1 {
				c, err := j.openOne()
				if err != nil {
					first <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
				conns[i] = c
			}
		})
	}
	group.Wait()
	select {
	case err := <-first:
		return nil, err
	default:
		return conns, nil
	}
}

// Shared by all connections: a client that only answers pings writes little.
var buffers sync.Pool

func (j job) openOne() (*websocket.Conn, error) {
	header := j.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Host", j.Host)
	d := websocket.Dialer{
		HandshakeTimeout: time.Minute, ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &buffers,
	}
	c, _, err := d.Dial(j.URL, header)
	if err != nil {
		return nil, err
	}
	frame, answers := fmt.Sprintf(`{"type":"join","channel":%q}`, j.Channel), []string{"welcome", "joined"}
	if j.Pusher {
		frame = fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q}}`, j.Channel)
		answers = []string{"pusher:connection_established", "pusher_internal:subscription_succeeded"}
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		return nil, err
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	for _, want := range answers {
		var got struct{ Type, Event string }
		if err := c.ReadJSON(&got); err != nil {
			return nil, err
		}
		if got.Type+got.Event != want {
			return nil, fmt.Errorf("got the frame %s, want %s", got.Type+got.Event, want)
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	go func() { // answers pings; ends with the connection
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	}()
	return c, nil
}
