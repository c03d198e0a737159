package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// TestNothingIsLostOrOutOfOrderWhileTheBackendIsDown sends to several channels at once, while the
// backend goes down and comes back.
func TestNothingIsLostOrOutOfOrderWhileTheBackendIsDown(t *testing.T) {
	const channels, each = 100, 100
	s, host, got := newScene(t, nil), testkit.MustHost(t, "portal.example.com"), newReceived()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	s.endpoints.set(host, endpointAt("http://"+address))
	start := func(l net.Listener) *http.Server {
		server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.record(r) })}
		go func() { _ = server.Serve(l) }() // ends with Close
		return server
	}
	server := start(listener)

	want := make(map[string]int)
	var sent sync.WaitGroup
	for c := range channels {
		channel := fmt.Sprintf("channel-%d", c)
		want["portal.example.com "+channel] = each
		sent.Go(func() {
			for n := range each {
				if err := s.Add(host, message(channel, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	testkit.Eventually(t, "some arrive", func() bool { return got.len() > 100 })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	before := got.len()
	testkit.Eventually(t, "attempts fail", func() bool { return s.counts.get("failed network") > 8 })
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server = start(listener)
	defer func() { _ = server.Close() }()
	sent.Wait()
	testkit.Eventually(t, "all arrive", func() bool { return got.len() == channels*each })
	got.inOrder(t, want)
	testkit.Eventually(t, "all is removed", func() bool { return s.waiting(host) == Waiting{} })
	t.Logf("%d arrived before the backend went, %d twice, %d attempts failed", before, got.again, s.counts.get("failed network"))
	if n := s.counts.get("delivered"); n != channels*each {
		t.Errorf("%d are counted", n)
	}
}

// TestMinuteOfSilence is the same in a synctest bubble: for a minute, every attempt fails.
func TestMinuteOfSilence(t *testing.T) {
	for _, test := range []struct {
		name     string
		channels int
		failure  func() (*http.Response, error)
		why      Reason
	}{
		{"no connection", 3, func() (*http.Response, error) { return nil, errors.New("connection refused") }, ReasonNetwork},
		{"502", 3, func() (*http.Response, error) { return respond(502) }, ReasonServer},
		{"404 of a proxy", 3, func() (*http.Response, error) { return respond(404) }, ReasonRefused},
		{"many channels", 200, func() (*http.Response, error) { return respond(503) }, ReasonServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, up := newReceived(), time.Now().Add(time.Minute)
				attempts := 0
				var mu sync.Mutex
				s := newScene(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if time.Now().Before(up) {
						mu.Lock()
						attempts++
						mu.Unlock()
						return test.failure()
					}
					got.record(r)
					return respond(200)
				}))
				host, want := testkit.MustHost(t, "portal.example.com"), make(map[string]int)
				s.endpoints.set(host, endpointAt("http://backend.example"))
				for n := range 4 {
					for c := range test.channels {
						channel := fmt.Sprintf("channel-%d", c)
						s.mustAdd(t, host, message(channel, n))
						want["portal.example.com "+channel] = n + 1
					}
				}
				time.Sleep(time.Minute) // in the bubble
				synctest.Wait()
				if got.len() > 0 && time.Now().Before(up) {
					t.Errorf("%d arrived too early", got.len())
				}
				time.Sleep(maxPause) // the longest pause after that
				synctest.Wait()
				got.inOrder(t, want)
				// 8 at first, then one at a time, or each channel after its own pause.
				if most := 8 + 12*min(test.channels, maxParallel); attempts > most || attempts < 3 {
					t.Errorf("%d attempts in the minute, want up to %d", attempts, most)
				}
				if s.counts.get("failed "+string(test.why)) != attempts {
					t.Errorf("%v are counted of %d", s.counts.by, attempts)
				}
				if n := s.logs.FilterMessage("backend does not take copies, they wait").Len(); n != 1 {
					t.Errorf("%d lines say that it is down", n)
				}
				if n := s.logs.FilterMessage("backend takes copies again").Len(); n != 1 {
					t.Errorf("%d lines say that it is up", n)
				}
			})
		})
	}
}

func TestMessageThatIsRefusedForGoodIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var mu sync.Mutex
		s := newScene(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			raw := make([]byte, r.ContentLength)
			if _, err := r.Body.Read(raw); err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(string(raw), `{"n":1}`) {
				order = append(order, "bad "+r.Header.Get("Rollcall-Attempt"))
				return respond(422)
			}
			order = append(order, "good")
			return respond(200)
		}))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		for n := range 3 {
			s.mustAdd(t, host, message("sales", n))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[good bad 1 bad 2 bad 3 bad 4 bad 5 good]" {
			t.Errorf("got %s", got)
		}
		if s.counts.get("dropped refused") != 1 || s.counts.get("failed refused") != 5 || s.counts.get("delivered") != 2 {
			t.Errorf("counted: %v", s.counts.by)
		}
		lines := s.logs.FilterMessage("copy given up").All()
		if len(lines) != 1 || lines[0].ContextMap()["status"] != int64(422) {
			t.Errorf("logged: %v", lines)
		}
	})
}

// Attempts that failed while the backend was down do not count against the message.
func TestRefusalsAloneCountTowardsGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int64
		s := newScene(t, roundTrip(func(*http.Request) (*http.Response, error) {
			switch n := attempts.Add(1); {
			case n <= 20:
				return respond(503)
			case n < 20+maxRefusals:
				return respond(400)
			}
			return respond(200)
		}))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		s.mustAdd(t, host, message("sales", 0))
		time.Sleep(time.Hour)
		synctest.Wait()
		if s.counts.get("delivered") != 1 || s.counts.get("dropped refused") != 0 {
			t.Errorf("counted: %v", s.counts.by)
		}
	})
}

func TestBackendIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var attempts []time.Duration
		var mu sync.Mutex
		s := newScene(t, roundTrip(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, time.Since(start))
			if len(attempts) == 1 {
				return respond(429, "Retry-After", "120")
			}
			return respond(200)
		}))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		s.mustAdd(t, host, message("sales", 0))
		synctest.Wait()
		s.mustAdd(t, host, message("other", 0))
		time.Sleep(2 * time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(attempts) != 3 || attempts[1] < 2*time.Minute || attempts[2] < 2*time.Minute {
			t.Errorf("attempts at %v", attempts)
		}
	})
}

// failing is a backend that fails, and counts, the messages that contain part, and accepts the
// others.
func failing(part string, got *received, failed *atomic.Int64) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		raw := make([]byte, r.ContentLength)
		if _, err := r.Body.Read(raw); err != nil {
			return nil, err
		}
		if strings.Contains(string(raw), part) {
			failed.Add(1)
			return respond(500)
		}
		r.Body, _ = r.GetBody()
		got.record(r)
		return respond(200)
	}
}

// One channel whose messages fail must not delay the others, and must not be tried without a pause.
func TestChannelThatFailsDoesNotHoldOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, bad := newReceived(), atomic.Int64{}
		s := newScene(t, failing(`"channel":"bad"`, got, &bad))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		s.mustAdd(t, host, message("bad", 0))
		const n = 600
		for i := range n {
			s.mustAdd(t, host, message("good", i))
			time.Sleep(time.Second)
			synctest.Wait()
			if got.len() != i+1 {
				t.Fatalf("%d messages arrived a second after number %d", got.len(), i)
			}
		}
		if tries := bad.Load(); tries < 10 || tries > 60 {
			t.Errorf("the channel that fails was tried %d times in ten minutes", tries)
		}
		if lines := s.logs.FilterMessage("copy not delivered, trying on").Len(); lines != 1 {
			t.Errorf("%d lines are logged", lines)
		}
	})
}

// Many channels that fail look like a backend that is down. Other channels must still find out that
// it is up.
func TestChannelsThatFailDoNotHoldOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, bad := newReceived(), atomic.Int64{}
		s := newScene(t, failing(`"channel":"bad`, got, &bad))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		for n := range 50 * maxParallel { // too many for one attempt each within the hour
			s.mustAdd(t, host, message(fmt.Sprint("bad-", n), n))
		}
		time.Sleep(time.Hour)
		for i := range 60 {
			s.mustAdd(t, host, message("good", i))
			time.Sleep(2 * maxPause) // one pause for a channel that fails
			synctest.Wait()
			if got.len() != i+1 {
				t.Fatalf("%d messages arrived %s after number %d", got.len(), 2*maxPause, i)
			}
		}
	})
}

func TestDeadBackendDoesNotDelayOtherHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newReceived()
		s := newScene(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "dead") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			got.record(r)
			return respond(200)
		}))
		dead, fine := testkit.MustHost(t, "dead.example.com"), testkit.MustHost(t, "fine.example.com")
		s.endpoints.set(dead, endpointAt("http://dead.example"))
		s.endpoints.set(fine, endpointAt("http://fine.example"))
		for n := range 100 {
			s.mustAdd(t, dead, message(fmt.Sprint("channel-", n), n))
		}
		start := time.Now()
		for n := range 100 {
			s.mustAdd(t, fine, message("sales", n))
		}
		synctest.Wait()
		if got.len() != 100 || time.Since(start) > time.Second {
			t.Errorf("%d messages arrived in %s", got.len(), time.Since(start))
		}
	})
}

func TestRequestsOfAHostAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		s := newScene(t, roundTrip(func(*http.Request) (*http.Response, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(10 * time.Millisecond)
			return respond(200)
		}))
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://backend.example"))
		for n := range 200 {
			s.mustAdd(t, host, message(fmt.Sprint("channel-", n), n))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if most.Load() != maxParallel || s.counts.get("delivered") != 200 {
			t.Errorf("%d requests at once, %d delivered", most.Load(), s.counts.get("delivered"))
		}
	})
}

// There are more channels than lanes.
func TestManyChannels(t *testing.T) {
	const channels = maxLanes*2 + 100
	s, host, got := newScene(t, nil), testkit.MustHost(t, "portal.example.com"), newReceived()
	want := make(map[string]int)
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	s.transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		got.record(r)
		return respond(200)
	})
	addAll := func(n int) {
		var sent sync.WaitGroup
		for worker := range 16 {
			sent.Go(func() {
				for c := worker; c < channels; c += 16 {
					if err := s.Add(host, message(fmt.Sprint("channel-", c), n)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		sent.Wait()
	}
	addAll(0)
	addAll(1)
	for c := range channels {
		want[fmt.Sprint("portal.example.com channel-", c)] = 2
	}
	s.mu.Lock()
	q := s.queues[Stream{Host: host}]
	s.mu.Unlock()
	q.mu.Lock()
	lanes := len(q.lanes)
	q.mu.Unlock()
	if lanes > maxLanes {
		t.Errorf("%d lanes", lanes)
	}
	s.close(t)
	s.open(t) // with the working backend
	testkit.Eventually(t, "all arrive", func() bool { return got.len() == 2*channels })
	got.inOrder(t, want)
	testkit.Eventually(t, "all is removed", func() bool { return s.waiting(host) == Waiting{} })
}

func TestHostWithoutABackendKeepsItsQueue(t *testing.T) {
	s, host, got := newScene(t, nil), testkit.MustHost(t, "portal.example.com"), newReceived()
	server := serve(t, got)
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	for n := range 10 {
		s.mustAdd(t, host, message("sales", n))
	}
	s.endpoints.set(host, nil)
	if err := s.Add(host, message("sales", 10)); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("the error is %v", err)
	}
	s.Refresh()
	s.mu.Lock()
	q := s.queues[Stream{Host: host}]
	s.mu.Unlock()
	testkit.Eventually(t, "the queue rests", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.running && q.busy == 0
	})
	if s.waiting(host).Messages != 10 {
		t.Errorf("%d messages wait", s.waiting(host).Messages)
	}
	s.endpoints.set(host, endpointAt(server.URL))
	s.Refresh()
	testkit.Eventually(t, "all arrive", func() bool { return got.len() == 10 })
	got.inOrder(t, map[string]int{"portal.example.com sales": 10})
}

func TestCloseWaitsForWhatIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		name      string
		timeout   time.Duration
		delivered int
	}{
		{"long enough", 5 * time.Second, 1},
		{"too short", 500 * time.Millisecond, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					select {
					case <-time.After(time.Second):
						return respond(200)
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				}))
				host := testkit.MustHost(t, "portal.example.com")
				s.endpoints.set(host, endpointAt("http://backend.example"))
				for n := range 3 {
					s.mustAdd(t, host, message("sales", n))
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				start := time.Now()
				if err := s.Close(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > min(test.timeout, time.Second) {
					t.Errorf("it took %s", took)
				}
				if err := s.Add(host, message("sales", 3)); !errors.Is(err, ErrClosed) {
					t.Errorf("adding after the end: %v", err)
				}
				if n := s.counts.get("delivered"); n != test.delivered || s.counts.get("failed timeout")+s.counts.get("failed network") > 0 {
					t.Errorf("counted: %v", s.counts.by)
				}
				s.open(t)
				if n := s.waiting(host).Messages; n != 3-test.delivered {
					t.Errorf("%d messages wait after the start", n)
				}
			})
		})
	}
}
