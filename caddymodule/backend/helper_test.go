package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence"
)

// endpoints is a configuration that tests can change.
type endpoints struct {
	mu   sync.Mutex
	byID map[presence.HostName]*Endpoint
}

func (e *endpoints) Endpoint(of Stream) *Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byID[of.Host]
}

func (e *endpoints) set(host presence.HostName, to *Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byID == nil {
		e.byID = make(map[presence.HostName]*Endpoint)
	}
	e.byID[host] = to
}

// counts is an Observer.
type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]int)
	}
	c.by[what] += n
}

func (c *counts) get(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[what]
}

func (c *counts) Delivered(_ Stream, n int)            { c.add("delivered", n) }
func (c *counts) Failed(_ Stream, why Reason)          { c.add("failed "+string(why), 1) }
func (c *counts) NotTaken(_ Stream, why Reason, n int) { c.add("not taken "+string(why), n) }
func (c *counts) Dropped(_ Stream, why Reason, n int)  { c.add("dropped "+string(why), n) }

const testSecret = "a secret of this test"

func endpointAt(url string) *Endpoint {
	return &Endpoint{URL: url, Secrets: []Secret{Secret(testSecret)}, Timeout: 10 * time.Second, Queue: 64 << 20}
}

// scene is a courier and its environment.
type scene struct {
	*Courier
	folder    string
	content   Content
	lost      func(of Stream, lane uint64)
	endpoints *endpoints
	counts    *counts
	logs      *observer.ObservedLogs
	transport http.RoundTripper
}

func newScene(t testing.TB, transport http.RoundTripper) *scene {
	t.Helper()
	s := &scene{folder: t.TempDir(), endpoints: new(endpoints), transport: transport}
	s.open(t)
	t.Cleanup(func() { s.close(t) })
	return s
}

func (s *scene) open(t testing.TB) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	s.counts, s.logs = new(counts), logs
	var err error
	s.Courier, err = Open(Config{
		Content: s.content, Lost: s.lost, Folder: s.folder, Endpoints: s.endpoints, Observer: s.counts, Logger: zap.New(core), transport: s.transport,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// close closes the courier, and cancels pending attempts.
func (s *scene) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// waiting returns the messages that are queued for the host, without the last failure.
func (s *scene) waiting(host presence.HostName) Waiting {
	var found Waiting
	s.Waiting(func(of Stream, w Waiting) {
		if of.Host == host {
			found = w
			found.Failure = Failure{}
		}
	})
	return found
}

func message(channel string, n int) Message {
	return Message{
		Channel: channel, Mode: Listen, From: &presence.User{ID: "ada", Email: "ada@example.com"},
		Connection: presence.ID{1, 2, 3}, Message: fmt.Appendf(nil, `{"n":%d}`, n), Sent: time.UnixMilli(1_700_000_000_000),
	}
}

func (s *scene) mustAdd(t testing.TB, host presence.HostName, m Message) {
	t.Helper()
	if err := s.Add(host, m); err != nil {
		t.Fatal(err)
	}
}

// received holds the messages that a backend has received, by channel, without repetitions.
type received struct {
	mu       sync.Mutex
	order    map[string][]int // by host and channel
	seen     map[string]bool  // ids
	again    int              // repeated deliveries
	bodies   []string
	problems []string
}

func newReceived() *received {
	return &received{order: make(map[string][]int), seen: make(map[string]bool)}
}

// record checks and records a request.
func (r *received) record(req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	var b struct {
		ID, Host, Channel string
		Message           struct{ N int }
	}
	if err = cmpErr(err, json.Unmarshal(raw, &b)); err != nil {
		r.problems = append(r.problems, err.Error())
		return
	}
	if req.Header.Get("Webhook-Id") != b.ID || b.ID == "" {
		r.problems = append(r.problems, fmt.Sprintf("id %q in the header, %q in the body", req.Header.Get("Webhook-Id"), b.ID))
	}
	if r.seen[b.ID] {
		r.again++
		return
	}
	r.seen[b.ID] = true
	r.bodies = append(r.bodies, string(raw))
	key := b.Host + " " + b.Channel
	r.order[key] = append(r.order[key], b.Message.N)
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *received) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// inOrder checks that each channel has the numbers from 0 to want-1.
func (r *received) inOrder(t testing.TB, want map[string]int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.problems {
		t.Error(p)
	}
	if len(r.order) != len(want) {
		t.Errorf("%d channels, want %d", len(r.order), len(want))
	}
	for key, n := range want {
		got := r.order[key]
		if len(got) != n {
			t.Errorf("%s: %d messages, want %d", key, len(got), n)
			continue
		}
		if !slices.IsSorted(got) || got[0] != 0 || got[n-1] != n-1 {
			t.Errorf("%s: out of order", key)
		}
	}
}

// roundTrip is a transport without a network, for tests in synctest bubbles.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, header ...string) (*http.Response, error) {
	resp := &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(""))}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp, nil
}

// serve starts a backend that records requests and answers 204.
func serve(t testing.TB, r *received) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.record(req)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return server
}
