package backend

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// pairs writes requests with two events at most.
type pairs struct{}

func (pairs) Batch() int { return 2 }

func (pairs) Body(events [][]byte, queued time.Time) []byte {
	return fmt.Appendf(nil, `{"n":%d,"first":%q,"queued":%d}`, len(events), events[0], queued.UnixNano())
}

func (pairs) Sign(header http.Header, body []byte) { header.Set("X-Size", fmt.Sprint(len(body))) }

func TestAWriterWritesRequests(t *testing.T) {
	host := testkit.MustHost(t, "a.example")
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprintf("%t %q %s", r.Header.Get("X-Size") == fmt.Sprint(r.ContentLength), r.Header.Get("Webhook-Signature"), r.Header.Get("Content-Type"))
	}))
	defer server.Close()
	s := &scene{folder: t.TempDir(), endpoints: new(endpoints), content: Events}
	s.endpoints.set(host, &Endpoint{URL: server.URL, Timeout: time.Minute, Queue: 1 << 20, Writer: pairs{}})
	s.open(t)
	defer s.close(t)
	var items []Item
	for n := range 5 {
		items = append(items, numbered(host, 1, n, 10))
	}
	if err := s.Put(Stream{Host: host}, items...); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if h := <-got; h != `true "" application/json` {
			t.Errorf("signed, Standard Webhooks, Content-Type: %s", h)
		}
	}
	testkit.Eventually(t, "all are delivered", func() bool { return s.counts.get("delivered") == 5 })
	if len(got) > 0 {
		t.Error("there is a request too much")
	}
}

// A batch has the same body each time, so its time comes from the queue.
func TestABodyIsTheSameEachTime(t *testing.T) {
	k, to := kinds[Events], &Endpoint{Writer: pairs{}}
	b := batch{mark: mark{first: 1, last: 1_795_737_600_123_456_789}, bodies: [][]byte{[]byte("{}")}}
	if got, want := string(k.write(to, b)), `{"n":1,"first":"{}","queued":1795737600123456789}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	if n := k.batchLimit(to); n != 2 {
		t.Errorf("limit %d", n)
	}
	if n := kinds[Copies].batchLimit(&Endpoint{}); n != 1 {
		t.Errorf("limit of copies %d", n)
	}
}

func TestWhenABatchIsGivenUp(t *testing.T) {
	now := time.Now()
	const patience, keep = 5 * time.Minute, time.Hour
	for _, test := range []struct {
		name    string
		to      Endpoint
		age     time.Duration
		refused bool
		why     Reason
	}{
		{"as copies", Endpoint{}, time.Second, true, ReasonRefused},
		{"as copies, receiver down", Endpoint{}, 1000 * time.Hour, false, ""},
		{"refused, young", Endpoint{Patience: patience, Keep: keep}, patience - 1, true, ""},
		{"refused, old", Endpoint{Patience: patience, Keep: keep}, patience, true, ReasonRefused},
		{"down, kept", Endpoint{Patience: patience, Keep: keep}, keep - 1, false, ""},
		{"down, expired", Endpoint{Patience: patience, Keep: keep}, keep, false, ReasonExpired},
	} {
		b := batch{mark: mark{first: uint64(now.Add(-test.age).UnixNano())}}
		if why, ok := test.to.mayGiveUp(b, test.refused, now); why != test.why || ok != (why != "") {
			t.Errorf("%s: %q, %t, want %q", test.name, why, ok, test.why)
		}
	}
}

// An event that is expired is given up with the next failure, and its owner told.
func TestExpiredEventsAreGivenUp(t *testing.T) {
	host := testkit.MustHost(t, "a.example")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer server.Close()
	lost := make(chan uint64, 1)
	s := &scene{folder: t.TempDir(), endpoints: new(endpoints), content: Events, lost: func(_ Stream, lane uint64) { lost <- lane }}
	s.endpoints.set(host, &Endpoint{URL: server.URL, Timeout: time.Minute, Queue: 1 << 20, Writer: pairs{}, Keep: time.Nanosecond})
	s.open(t)
	defer s.close(t)
	if err := s.Put(Stream{Host: host}, numbered(host, 5, 0, 10)); err != nil {
		t.Fatal(err)
	}
	if lane := <-lost; lane != 5 {
		t.Errorf("lane %d", lane)
	}
	if n := s.counts.get("dropped expired"); n != 1 {
		t.Errorf("%d events expired", n)
	}
}
