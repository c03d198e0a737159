package authorize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// gate is a backend that answers when the test says so.
type gate struct {
	open    chan struct{}
	now     atomic.Int64 // requests under way
	most    atomic.Int64
	started atomic.Int64
	channel sync.Map // requests by body
}

func newGate(t *testing.T) (*gate, *Endpoint) {
	t.Helper()
	g := &gate{open: make(chan struct{})}
	to := serve(t, g.ServeHTTP)
	t.Cleanup(g.release) // before the server is closed
	return g, to
}

func (g *gate) release() {
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n, _ := g.channel.LoadOrStore(string(body), new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	now := g.now.Add(1)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
	g.started.Add(1)
	defer g.now.Add(-1)
	select {
	case <-g.open:
		io.WriteString(w, `{"allow":true}`)
	case <-r.Context().Done():
	}
}

func TestSameTextIsAskedOnce(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	const n = 500
	var all []<-chan outcome
	for range n {
		all = append(all, ask(t.Context(), a, to, question(t, "ada", "room")))
	}
	eventually(t, "all wait", func() bool { return waitingOf(a) == n })
	g.release()
	for _, done := range all {
		if got := <-done; !got.answer.Allow || got.err != nil {
			t.Fatalf("got %+v", got)
		}
	}
	if got := g.started.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestQuestionsUnderWayAreLimited(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	const n = 400
	var all []<-chan outcome
	for i := range n {
		all = append(all, ask(t.Context(), a, to, question(t, fmt.Sprint("user-", i), "room")))
	}
	eventually(t, "all wait", func() bool { return waitingOf(a) == n && g.started.Load() == maxBusy })
	g.release()
	for _, done := range all {
		if got := <-done; !got.answer.Allow || got.err != nil {
			t.Fatalf("got %+v", got)
		}
	}
	if g.most.Load() != maxBusy || g.started.Load() != n {
		t.Errorf("%d at once of %d, want %d of %d", g.most.Load(), g.started.Load(), maxBusy, n)
	}
}

// A host whose backend hangs delays no other host.
func TestHostsDoNotDelayEachOther(t *testing.T) {
	a, _ := newAsker(t)
	g, slow := newGate(t)
	for i := range 2 * maxBusy {
		ask(t.Context(), a, slow, question(t, fmt.Sprint("user-", i), "room"))
	}
	eventually(t, "all slots are in use", func() bool { return g.now.Load() == maxBusy })
	var s answers
	s.text.Store(`{"allow":true}`)
	q := question(t, "ada", "room")
	q.Host = testkit.MustHost(t, "other.example.com")
	if got := mustAsk(t, a, serve(t, s.ServeHTTP), q); !got.Allow || g.now.Load() != maxBusy {
		t.Errorf("got %+v with %d under way", got, g.now.Load())
	}
}

func TestWaitingIsLimited(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	to.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	var all []<-chan outcome
	for range maxWaiting {
		all = append(all, ask(ctx, a, to, question(t, "ada", "room")))
	}
	eventually(t, "all wait", func() bool { return waitingOf(a) == maxWaiting })
	mustFail(t, a, to, question(t, "grace", "room"))
	mustFail(t, a, to, question(t, "ada", "room"))
	cancel()
	for _, done := range all {
		if got := <-done; !errors.Is(got.err, context.Canceled) {
			t.Fatalf("got %+v", got)
		}
	}
	g.release()
	if got := mustAsk(t, a, to, question(t, "grace", "room")); !got.Allow {
		t.Errorf("got %+v", got)
	}
}

func TestQueueEndsWithTheTimeout(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	for i := range maxBusy {
		ask(t.Context(), a, to, question(t, fmt.Sprint("user-", i), "room"))
	}
	eventually(t, "all slots are in use", func() bool { return g.now.Load() == maxBusy })
	short := *to
	short.Timeout = 20 * time.Millisecond
	mustFail(t, a, &short, question(t, "ada", "room"))
	if g.started.Load() != maxBusy || waitingOf(a) != maxBusy {
		t.Errorf("%d requests, %d wait", g.started.Load(), waitingOf(a))
	}
}

// A queued question that no caller waits for is not asked.
func TestCancelledQuestionIsNotAsked(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	var all []<-chan outcome
	for i := range maxBusy {
		all = append(all, ask(t.Context(), a, to, question(t, fmt.Sprint("user-", i), "room")))
	}
	eventually(t, "all slots are in use", func() bool { return g.now.Load() == maxBusy })
	ctx, cancel := context.WithCancel(t.Context())
	gone := ask(ctx, a, to, question(t, "ada", "room"))
	stays := ask(t.Context(), a, to, question(t, "grace", "room"))
	eventually(t, "both wait", func() bool { return waitingOf(a) == maxBusy+2 })
	cancel()
	if got := <-gone; !errors.Is(got.err, context.Canceled) {
		t.Errorf("got %+v", got)
	}
	g.release()
	for _, done := range append(all, stays) {
		if got := <-done; !got.answer.Allow {
			t.Fatalf("got %+v", got)
		}
	}
	if got := g.started.Load(); got != maxBusy+1 {
		t.Errorf("%d requests, want %d", got, maxBusy+1)
	}
}

// An answer to a question from before Forget is not used, even if it arrives.
func TestForgetWhileAsking(t *testing.T) {
	a, _ := newAsker(t)
	arrived := make(chan struct{})
	var n atomic.Int64
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then is r.Context() done when the client is gone
		if n.Add(1) == 1 {
			close(arrived)
			<-r.Context().Done() // Forget ends the request
			io.WriteString(w, `{"allow":true}`)
			return
		}
		io.WriteString(w, `{"allow":false}`)
	})
	q := question(t, "ada", "room")
	done := ask(t.Context(), a, to, q)
	<-arrived
	a.Forget(q.Host, []string{"ada"})
	if got := <-done; got.answer.Allow || got.err != nil || n.Load() != 2 {
		t.Errorf("got %+v after %d requests", got, n.Load())
	}
	if got, ok := a.Kept(to, q); !ok || got.Allow {
		t.Errorf("kept %+v, %t", got, ok)
	}
}

// A question that waits for a slot is answered after Forget, so it is asked once.
func TestForgetWhileQueued(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	for i := range maxBusy {
		ask(t.Context(), a, to, question(t, fmt.Sprint("user-", i), "room"))
	}
	eventually(t, "all slots are in use", func() bool { return g.now.Load() == maxBusy })
	q := question(t, "ada", "room")
	done := ask(t.Context(), a, to, q)
	eventually(t, "it waits", func() bool { return waitingOf(a) == maxBusy+1 })
	a.Forget(q.Host, []string{"ada"})
	g.release()
	if got := <-done; !got.answer.Allow || got.err != nil {
		t.Errorf("got %+v", got)
	}
	g.channel.Range(func(text, n any) bool {
		if strings.Contains(text.(string), `"ada"`) && n.(*atomic.Int64).Load() != 1 {
			t.Errorf("asked %d times", n.(*atomic.Int64).Load())
		}
		return true
	})
}

func TestCloseEndsQuestions(t *testing.T) {
	a, _ := newAsker(t)
	g, to := newGate(t)
	done := ask(t.Context(), a, to, question(t, "ada", "room"))
	eventually(t, "it is asked", func() bool { return g.now.Load() == 1 })
	a.Close()
	if got := <-done; !errors.Is(got.err, ErrUnavailable) {
		t.Errorf("got %+v", got)
	}
}
