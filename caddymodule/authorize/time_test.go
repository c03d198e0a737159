package authorize

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// inBubble runs a test in fake time, with a backend that is a function.
func inBubble(t *testing.T, f func(t *testing.T, a *Asker, to *Endpoint, asked *atomic.Int64, reply *atomic.Value)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAsker(t)
		var asked atomic.Int64
		var reply atomic.Value // func() (*http.Response, error)
		reply.Store(func() (*http.Response, error) { return respond(http.StatusOK, `{"allow":true}`), nil })
		a.client = &http.Client{Transport: roundTrips(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			return reply.Load().(func() (*http.Response, error))()
		})}
		f(t, a, endpointAt("http://app.example.com"), &asked, &reply)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(a.hosts); n != 0 {
			t.Errorf("the state of %d hosts is left", n)
		}
	})
}

func says(text string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return respond(http.StatusOK, text), nil }
}

func TestAnswersAreKeptForAWhile(t *testing.T) {
	for _, test := range []struct {
		name, text string
		cache      time.Duration
		want       time.Duration
	}{
		{"a yes", `{"allow":true}`, 30 * time.Second, 30 * time.Second},
		{"a no", `{"allow":false}`, 30 * time.Second, 5 * time.Second},
		{"a no with a short cache", `{"allow":false}`, 2 * time.Second, 2 * time.Second},
		{"a yes that ends", `{"allow":true,"expires_in":12}`, 30 * time.Second, 12 * time.Second},
		{"a yes that ends later", `{"allow":true,"expires_in":60}`, 30 * time.Second, 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *Asker, to *Endpoint, asked *atomic.Int64, reply *atomic.Value) {
				reply.Store(says(test.text))
				to.Cache = test.cache
				q := question(t, "ada", "room")
				first := mustAsk(t, a, to, q)
				time.Sleep(test.want - 1)
				if got := mustAsk(t, a, to, q); got != first || asked.Load() != 1 {
					t.Errorf("%+v after %d requests", got, asked.Load())
				}
				time.Sleep(time.Nanosecond)
				if _, ok := a.Kept(to, q); ok {
					t.Error("still kept")
				}
				mustAsk(t, a, to, q)
				if asked.Load() != 2 {
					t.Errorf("%d requests", asked.Load())
				}
			})
		})
	}
}

func TestBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Asker, to *Endpoint, asked *atomic.Int64, reply *atomic.Value) {
		down := func() (*http.Response, error) { return nil, syscall.ECONNREFUSED }
		reply.Store(down)
		q := question(t, "ada", "room")
		for range 1000 {
			mustFail(t, a, to, q)
		}
		if got := asked.Load(); got != tripAfter {
			t.Errorf("%d requests, want %d", got, tripAfter)
		}
		for range 600 { // a minute
			mustFail(t, a, to, q)
			time.Sleep(100 * time.Millisecond)
		}
		if got := asked.Load() - tripAfter; got < 2 || got > 8 {
			t.Errorf("%d requests in a minute of pauses", got)
		}
		reply.Store(says(`{"allow":true}`))
		time.Sleep(maxPause)
		for i := range 100 {
			if got := mustAsk(t, a, to, question(t, fmt.Sprint(i), "room")); !got.Allow {
				t.Errorf("got %+v", got)
			}
		}
	})
}

// A question that the backend cannot handle closes the site to nobody.
func TestBreakerIsNotTrippedByOneQuestion(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Asker, to *Endpoint, asked *atomic.Int64, reply *atomic.Value) {
		reply.Store(func() (*http.Response, error) { return respond(http.StatusInternalServerError, ""), nil })
		for range 100 {
			mustFail(t, a, to, question(t, "mallory", "x"))
		}
		reply.Store(says(`{"allow":true}`))
		if got := mustAsk(t, a, to, question(t, "ada", "room")); !got.Allow {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAnotherURLStartsWithAClosedBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Asker, to *Endpoint, asked *atomic.Int64, reply *atomic.Value) {
		reply.Store(func() (*http.Response, error) { return nil, syscall.ECONNREFUSED })
		for range 100 {
			mustFail(t, a, to, question(t, "ada", "room"))
		}
		reply.Store(says(`{"allow":true}`))
		if got := mustAsk(t, a, endpointAt("http://new.example.com"), question(t, "ada", "room")); !got.Allow {
			t.Errorf("got %+v", got)
		}
	})
}

func TestKeptAnswersAreLimited(t *testing.T) {
	now := time.Now()
	var k kept
	id := func(n int) key { return key{byte(n), byte(n >> 8), byte(n >> 16)} }
	for n := range 100 {
		k.put(id(n), hashUser("ada"), Answer{Allow: true}, 30*time.Second, now)
	}
	for n := 100; n < 3*maxKept; n++ { // a flood of refusals
		k.put(id(n), hashUser("mallory"), Answer{}, 30*time.Second, now)
	}
	if k.len() != maxKept || len(k.byKey) != maxKept {
		t.Errorf("%d are kept, %d by key", k.len(), len(k.byKey))
	}
	for n := range 100 {
		if got, ok := k.get(id(n), now); !ok || !got.Allow {
			t.Fatalf("%d: %+v, %t", n, got, ok)
		}
	}
	k.forget(map[userHash]bool{hashUser("mallory"): true})
	if k.len() != 100 || len(k.byKey) != 100 {
		t.Errorf("%d are kept, %d by key", k.len(), len(k.byKey))
	}
	k.sweep(now.Add(30*time.Second - 1))
	if k.len() != 100 {
		t.Errorf("%d are kept", k.len())
	}
	if k.sweep(now.Add(30 * time.Second)); k.len() != 0 || k.byKey != nil {
		t.Errorf("%d are kept", k.len())
	}
}

func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, a *Asker, to *Endpoint, _ *atomic.Int64, reply *atomic.Value) {
		mustAsk(t, a, to, question(t, "ada", "room"))
		mustAsk(t, a, to, question(t, "ada", "room")) // kept
		reply.Store(says(`{"allow":false}`))
		mustAsk(t, a, to, question(t, "ada", "hall"))
		reply.Store(says(`rubbish`))
		mustFail(t, a, to, question(t, "ada", "attic"))
		got := testkit.Metrics(t, a.Collectors(func() []string { return []string{"silent.example.com"} })...)
		for name, want := range map[string]float64{
			"caddy_rollcall_authorize_questions_total portal.example.com allowed": 1,
			"caddy_rollcall_authorize_questions_total portal.example.com denied":  1,
			"caddy_rollcall_authorize_questions_total portal.example.com invalid": 1,
			"caddy_rollcall_authorize_duration_seconds portal.example.com":        3,
			"caddy_rollcall_authorize_waiting portal.example.com":                 0,
			"caddy_rollcall_authorize_waiting silent.example.com":                 0,
		} {
			if n, ok := got[name]; !ok || n != want {
				t.Errorf("%s is %v, want %v", name, n, want)
			}
		}
	})
}
