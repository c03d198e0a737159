package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// numbered returns event n of a lane.
func numbered(host presence.HostName, lane uint64, n, size int) Item {
	id := fmt.Sprintf("evt_%d_%d", lane, n)
	return Item{Lane: lane, ID: id, Body: fmt.Appendf(nil, `{"id":%q,"type":"member.joined","host":%q,"lane":%d,"n":%d,"fill":%q}`,
		id, host.String(), lane, n, bytes.Repeat([]byte("x"), size))}
}

// receiver is a transport that records requests, and what becomes of them.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	fail   func() bool       // whether the answer is lost, or an error
	bodies map[string]string // by Webhook-Id
	next   map[uint64]int    // next number of each lane
	sizes  []int             // events in accepted requests
	again  int
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{t: t, bodies: make(map[string]string), next: make(map[uint64]int), fail: func() bool { return false }}
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get("Webhook-Id")
	before, repeated := r.bodies[id]
	if repeated && before != string(raw) {
		r.t.Errorf("request %s was repeated with another body:\n%s\n%s", id, before, raw)
	}
	r.bodies[id] = string(raw)
	var body struct {
		Events []struct {
			ID   string
			Lane uint64
			N    int
		}
	}
	if err := json.Unmarshal(raw, &body); err != nil || len(body.Events) == 0 || len(body.Events) > maxBatch {
		r.t.Errorf("%d events in %.200s: %v", len(body.Events), raw, err)
		return respond(200)
	}
	if body.Events[0].ID != id {
		r.t.Errorf("request %s begins with event %s", id, body.Events[0].ID)
	}
	fail := r.fail()
	if fail && rand.N(2) == 0 {
		return nil, errors.New("no connection")
	}
	for _, e := range body.Events {
		switch next := r.next[e.Lane]; {
		case e.N > next:
			r.t.Errorf("lane %d: event %d follows %d", e.Lane, e.N, next-1)
		case e.N == next:
			r.next[e.Lane]++
		default:
			r.again++
		}
	}
	if fail {
		return nil, errors.New("the answer is lost")
	}
	r.sizes = append(r.sizes, len(body.Events))
	return respond(204)
}

func newEvents(t *testing.T, r http.RoundTripper) (*scene, presence.HostName, Stream) {
	t.Helper()
	s := &scene{folder: t.TempDir(), endpoints: new(endpoints), transport: r, content: Events}
	host := testkit.MustHost(t, "portal.example.com")
	to := endpointAt("https://receiver.example/events")
	s.endpoints.set(host, to)
	s.open(t)
	return s, host, Stream{Host: host, Receiver: ReceiverOf(to.URL)}
}

// TestBatchesAreRepeatedAsTheyWere adds events while answers are lost and the process is restarted.
func TestBatchesAreRepeatedAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		s, host, to := newEvents(t, r)
		r.fail = func() bool { return rand.N(3) == 0 }
		added := make(map[uint64]int)
		for range 60 {
			for range rand.N(4) {
				lane := rand.Uint64N(3)
				items := make([]Item, 1+rand.N(150))
				for i := range items {
					items[i] = numbered(host, lane, added[lane], rand.N(6000))
					added[lane]++
				}
				if err := s.Put(to, items...); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Duration(rand.N(700)) * time.Millisecond) // in the bubble
			if rand.N(3) == 0 {
				s.close(t)
				s.open(t)
			}
		}
		r.mu.Lock()
		r.fail = func() bool { return false }
		r.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for lane, n := range added {
			if r.next[lane] != n {
				t.Errorf("lane %d: %d of %d events arrived", lane, r.next[lane], n)
			}
		}
		if (s.waiting(host) != Waiting{}) || r.again == 0 || !slices.ContainsFunc(r.sizes, func(n int) bool { return n > 20 }) {
			t.Errorf("%+v waits, %d events came again, batches of %v", s.waiting(host), r.again, r.sizes)
		}
		s.close(t)
	})
}

// A crash can happen after a request was sent and before anything else is written.
func TestBatchIsRepeatedAfterACrash(t *testing.T) {
	for _, size := range []int{1, 40, maxBatch, maxBatch + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(t)
				s, host, to := newEvents(t, r)
				r.fail = func() bool { return true }
				put := func(from, until int) {
					items := make([]Item, 0, until-from)
					for n := from; n < until; n++ {
						items = append(items, numbered(host, 1, n, 10))
					}
					if err := s.Put(to, items...); err != nil {
						t.Fatal(err)
					}
				}
				put(0, size)
				time.Sleep(2 * eventsGather) // the mark
				synctest.Wait()
				if len(r.bodies) == 0 {
					t.Fatal("nothing was sent")
				}
				put(size, 3*maxBatch)
				s.close(t)
				r.fail = func() bool { return false }
				s.open(t)
				time.Sleep(time.Minute)
				synctest.Wait()
				if r.next[1] != 3*maxBatch || r.sizes[0] != min(size, maxBatch) {
					t.Errorf("%d events arrived, in batches of %v", r.next[1], r.sizes)
				}
				s.close(t)
			})
		})
	}
}

func TestFullestLaneIsPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.fail = func() bool { return true }
		s, host, to := newEvents(t, r)
		for lane, n := range map[uint64]int{0: 3, 5: 30, 7: 20} {
			for i := range n {
				if err := s.Put(to, numbered(host, lane, i, 100)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if lane, ok := s.Fullest(to); !ok || lane != 5 {
			t.Errorf("the fullest lane is %d, %t", lane, ok)
		}
		before := s.waiting(host).Bytes
		if n := s.Purge(to, 5); n != 30 || s.counts.get("dropped full") != 30 {
			t.Errorf("%d are thrown away, counted: %v", n, s.counts.by)
		}
		if w := s.waiting(host); w.Messages != 23 || w.Bytes >= before {
			t.Errorf("%+v waits", w)
		}
		r.mu.Lock()
		r.fail, r.next[5] = func() bool { return false }, 30
		r.mu.Unlock()
		if err := s.Put(to, numbered(host, 5, 30, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if r.next[0] != 3 || r.next[7] != 20 || r.next[5] != 31 || (s.waiting(host) != Waiting{}) {
			t.Errorf("arrived: %v, %+v waits", r.next, s.waiting(host))
		}
		if n := s.Purge(to, 0); n != 0 {
			t.Errorf("%d of nothing are thrown away", n)
		}
		s.close(t)
	})
}

// A batch after a purge has its own attempts: it is not given up because of those of the purged
// one.
func TestPurgedBatchHasNoPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu       sync.Mutex
			attempts []string
		)
		last := make(chan struct{}) // closed by the last attempt before the batch is given up
		tried := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(attempts)
		}
		s, host, to := newEvents(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if attempts = append(attempts, r.Header.Get("Webhook-Id")+" "+r.Header.Get("Rollcall-Attempt")); len(attempts) == maxRefusals-1 {
				close(last)
			}
			return respond(422)
		}))
		if err := s.Put(to, numbered(host, 5, 0, 0)); err != nil {
			t.Fatal(err)
		}
		<-last
		synctest.Wait()
		if n := s.Purge(to, 5); n != 1 {
			t.Fatalf("%d are thrown away", n)
		}
		if err := s.Put(to, numbered(host, 5, 1, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want := []string{"evt_5_0 1", "evt_5_0 2", "evt_5_0 3", "evt_5_0 4", "evt_5_1 1", "evt_5_1 2", "evt_5_1 3", "evt_5_1 4", "evt_5_1 5"}
		// Until the purge is written, the next attempt may be due.
		got := slices.DeleteFunc(tried(), func(attempt string) bool { return attempt == "evt_5_0 5" })
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		s.close(t)
	})
}

func TestDiscardedBatchIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost []string
		s, host, to := newEvents(t, roundTrip(func(*http.Request) (*http.Response, error) { return respond(400) }))
		s.close(t)
		s.lost = func(of Stream, lane uint64) { lost = append(lost, fmt.Sprint(of.Host, " ", lane)) }
		s.open(t)
		if err := s.Put(to, numbered(host, 4, 0, 0), numbered(host, 4, 1, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if fmt.Sprint(lost) != "[portal.example.com 4]" || s.counts.get("dropped refused") != 2 {
			t.Errorf("lost: %v, counted: %v", lost, s.counts.by)
		}
		s.close(t)
	})
}

// A damaged record is discarded alone, and its neighbours arrive.
func TestDamagedEventIsDiscardedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		fails.Store(true)
		s, host, to := newEvents(t, roundTrip(func(*http.Request) (*http.Response, error) {
			if fails.Load() {
				return nil, errors.New("no connection")
			}
			return respond(200)
		}))
		for n := range 3 {
			if err := s.Put(to, numbered(host, 1, n, 10)); err != nil {
				t.Fatal(err)
			}
		}
		err := s.store.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(s.store.root()).Bucket(to.bucket())
			cursor := b.Cursor()
			cursor.Seek(encodeKey(1, 1))
			k, v := cursor.Next()
			return b.Put(k, append(slices.Clone(v), 'x'))
		})
		if err != nil {
			t.Fatal(err)
		}
		fails.Store(false)
		s.Refresh()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s.counts.get("dropped damaged") != 1 || s.counts.get("delivered") != 2 || (s.waiting(host) != Waiting{}) {
			t.Errorf("counted: %v, %+v waits", s.counts.by, s.waiting(host))
		}
		s.close(t)
	})
}

func FuzzMark(f *testing.F) {
	f.Add(mark{3, 9}.encode())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := decodeMark(b)
		if m != (mark{}) && !bytes.Equal(m.encode(), b) {
			t.Errorf("%x becomes %v", b, m)
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add("portal.example.com")
	f.Add("portal.example.com 0123456789abcdef")
	f.Add("portal.example.com 0123456789ABCDEF")
	f.Add("a b c")
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := parseStream([]byte(name)); ok && string(s.bucket()) != name {
			t.Errorf("%q becomes %v", name, s)
		}
	})
}
