package events

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/hooks"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// hookScene is a sink with one receiver of webhooks.
type hookScene struct {
	*Events
	folder   string
	receiver *Receiver
	host     presence.HostName
	key      app.Key
	mu       sync.Mutex
	status   int
	got      []string // events
	requests int      // accepted
	refused  int
	hidden   map[string]bool
}

func newHookScene(t *testing.T, names ...string) *hookScene {
	t.Helper()
	s := &hookScene{
		folder: t.TempDir(), host: testkit.MustHost(t, "portal.example.com"), status: http.StatusOK, hidden: make(map[string]bool),
		key: app.Key{Key: "key", Secret: []byte("a secret of this test")},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.receive(t, w, r) }))
	t.Cleanup(server.Close)
	r := &Receiver{
		Webhook: true, ID: backend.ReceiverOf("webhook " + server.URL), Number: "webhook-1", Types: DefaultTypes,
		Endpoint: &backend.Endpoint{
			URL: server.URL, Timeout: 10 * time.Second, Queue: 1 << 20, Writer: &hooks.Writer{Key: s.key}, Patience: hooks.MinKeep,
		},
	}
	if len(names) > 0 {
		r.Types = 0
	}
	for _, name := range names {
		of, ok := ParseWebhookType(name)
		if !ok {
			t.Fatalf("%s is no event", name)
		}
		r.Types |= of
	}
	s.receiver = r
	s.open()
	t.Cleanup(func() { s.Close(zap.NewNop(), time.Now()) })
	return s
}

// open opens the queue on disk, as a process does that starts.
func (s *hookScene) open() {
	s.Events = New(Config{
		Folder: s.folder, Logger: zap.NewNop(), Wanted: func() bool { return true }, Label: presence.HostName.String,
		Receivers: func(presence.HostName) []*Receiver { return []*Receiver{s.receiver} },
		Restart:   func(presence.HostName, uint8) {},
		Name:      func(presence.HostName, []presence.User) []string { return nil },
		Shown: func(_ presence.HostName, channel string) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return !s.hidden[channel]
		},
	})
}

func (s *hookScene) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *hookScene) setStatus(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *hookScene) receive(t *testing.T, w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	w.WriteHeader(s.status)
	if s.status != http.StatusOK {
		s.refused++
		return
	}
	s.requests++
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if key, sum := r.Header.Get("X-Pusher-Key"), r.Header.Get("X-Pusher-Signature"); key != s.key.Key || sum != s.key.Sign(raw) {
		t.Errorf("key %q, signature %q of %s", key, sum, raw)
	}
	var body struct {
		TimeMS int64 `json:"time_ms"`
		Events []json.RawMessage
	}
	if err := json.Unmarshal(raw, &body); err != nil || len(body.Events) == 0 || len(body.Events) > hooks.MaxBatch {
		t.Errorf("%d events, %v: %s", len(body.Events), err, raw)
	}
	if at := time.UnixMilli(body.TimeMS); time.Since(at) < 0 || time.Since(at) > time.Minute {
		t.Errorf("time_ms %d", body.TimeMS)
	}
	for _, e := range body.Events {
		s.got = append(s.got, string(e))
	}
}

func (s *hookScene) expect(t *testing.T, want ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d events arrive", len(want)), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.got) >= len(want)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := strings.Join(s.got, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func (s *hookScene) event(of events.Type, channel string, count int, ids ...string) events.Event {
	e := events.Event{Type: of, Host: s.host, Shard: 3, Epoch: 1000, Channel: channel, Count: count, Time: 900}
	for _, id := range ids {
		e.Records = append(e.Records, fmt.Sprintf(`{"id":%q,"email":""}`, id))
	}
	return e
}

// numbered returns an event with its number in epoch 1000, as it is sent.
func numbered(name, channel string, seq, count int, user ...string) string {
	more := ""
	if len(user) > 0 {
		more = fmt.Sprintf(`"user_id":%q,`, user[0])
	}
	return fmt.Sprintf(`{"name":%q,"channel":%q,%s"seq":%d,"epoch":1000,"count":%d}`, name, channel, more, seq, count)
}

func TestWebhooksNumberTheEventsOfEachChannel(t *testing.T) {
	s := newHookScene(t)
	s.Put([]events.Event{
		s.event(events.ChannelState, "news", 7), s.event(events.ChannelState, "presence-a", 3, "ada", "bob"),
		s.event(events.ChannelState, "presence-a", 3, "eve"), s.event(events.UserOnline, "", 0, "ada"), s.event(events.EpochComplete, "", 0),
	})
	s.Put([]events.Event{
		s.event(events.ChannelOccupied, "presence-b", 1), s.event(events.MemberJoined, "presence-b", 1, "ada"),
		s.event(events.MemberJoined, "sales", 1, "ada"), // a channel of other clients, whose backend asks for names elsewhere
		s.event(events.MemberLeft, "presence-a", 2, "eve"), s.event(events.MemberLeft, "presence-b", 0, "ada"),
		s.event(events.ChannelVacated, "presence-b", 0), s.event(events.ChannelOccupied, "presence-b", 1),
	})
	s.expect(t,
		numbered("channel_occupied", "news", 1, 7), numbered("channel_occupied", "presence-a", 1, 3),
		numbered("member_added", "presence-a", 2, 3, "ada"), numbered("member_added", "presence-a", 3, 3, "bob"), numbered("member_added", "presence-a", 4, 3, "eve"),
		numbered("channel_occupied", "presence-b", 1, 1), numbered("member_added", "presence-b", 2, 1, "ada"),
		numbered("member_removed", "presence-a", 5, 2, "eve"), numbered("member_removed", "presence-b", 3, 0, "ada"),
		numbered("channel_vacated", "presence-b", 4, 0), numbered("channel_occupied", "presence-b", 5, 1),
	)
}

func TestT31WebhooksAreNumberedAndSignedAfterTheFilter(t *testing.T) {
	s := newHookScene(t, "member_removed", "channel_vacated")
	s.Put([]events.Event{
		s.event(events.ChannelOccupied, "presence-a", 1), s.event(events.MemberJoined, "presence-a", 1, "ada"),
		s.event(events.MemberLeft, "presence-a", 0, "ada"), s.event(events.ChannelVacated, "presence-a", 0),
	})
	s.expect(t, numbered("member_removed", "presence-a", 1, 0, "ada"), numbered("channel_vacated", "presence-a", 2, 0))
}

func TestWebhooksNameNobodyWhosePluginLeavesTheIDOut(t *testing.T) {
	s := newHookScene(t)
	e := s.event(events.MemberJoined, "presence-a", 2)
	e.Records = []string{`{"email":"ada@example.com"}`}
	s.Put([]events.Event{e, s.event(events.MemberJoined, "presence-a", 2, "bob")})
	s.expect(t, numbered("member_added", "presence-a", 1, 2, "bob"))
}

func TestRequestsHaveAtMostTwentyEvents(t *testing.T) {
	s := newHookScene(t)
	var list []events.Event
	var want []string
	for i := range 201 {
		list = append(list, s.event(events.ChannelOccupied, fmt.Sprint("c", i), 1))
		want = append(want, numbered("channel_occupied", fmt.Sprint("c", i), 1, 1))
	}
	s.Put(list)
	s.expect(t, want...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests > 15 {
		t.Errorf("%d requests", s.requests)
	}
}

func TestClientEventsAreQueuedInOrder(t *testing.T) {
	s := newHookScene(t, "client_event")
	s.hidden["presence-hidden"] = true
	s.ClientEvent(s.host, ClientEvent{Channel: "presence-hidden", Event: "client-x", SocketID: "1.2"})
	s.CacheMiss(s.host, "cache-a") // not wanted
	var want []string
	for i := range 100 {
		s.ClientEvent(s.host, ClientEvent{Channel: "presence-a", Event: "client-x", Data: fmt.Sprint(i), SocketID: "1.2", UserID: "ada"})
		want = append(want, fmt.Sprintf(`{"name":"client_event","channel":"presence-a","event":"client-x","data":"%d","socket_id":"1.2","user_id":"ada"}`, i))
	}
	s.expect(t, want...)
}

func TestAChannelHasOneCacheMissInTenSeconds(t *testing.T) {
	n, now := new(notes), time.Now()
	host := testkit.MustHost(t, "portal.example.com")
	for i, test := range []struct {
		channel string
		after   time.Duration
		told    bool
	}{{"a", 0, true}, {"a", 0, false}, {"b", 0, true}, {"a", missPause - 1, false}, {"a", 1, true}, {"a", 0, false}} {
		now = now.Add(test.after)
		if told := n.miss(missed{host, test.channel}, now); told != test.told {
			t.Errorf("%d: told: %t", i, told)
		}
	}
	for i := range 3 * maxMissed {
		n.miss(missed{host, fmt.Sprint(i)}, now)
	}
	if len(n.missed) > maxMissed {
		t.Errorf("%d channels are remembered", len(n.missed))
	}
}

func TestEventsOfClientsAreBounded(t *testing.T) {
	s := newHookScene(t, "client_event")
	s.notes.mu.Lock()
	s.notes.running = true // nothing is queued
	s.notes.mu.Unlock()
	for range 20 {
		s.ClientEvent(s.host, ClientEvent{Channel: "presence-a", Event: "client-x", Data: strings.Repeat("x", maxNoted/10)})
	}
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	if n := len(s.notes.waiting); n != 9 || s.notes.bytes > maxNoted {
		t.Errorf("%d events wait, with %d bytes", n, s.notes.bytes)
	}
}

// The receiver refuses everything, then the process ends, and another one begins an epoch. Every
// event of both arrives, in order.
func TestT32EventsOutliveTheirProcess(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusBadRequest} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			s := newHookScene(t)
			s.setStatus(status)
			var want []string
			joins := func(epoch uint64, first int) {
				list := []events.Event{s.event(events.ChannelState, "presence-a", first), s.event(events.EpochComplete, "", 0)}
				want = append(want, strings.Replace(numbered("channel_occupied", "presence-a", 1, first), `"epoch":1000`, fmt.Sprintf(`"epoch":%d`, epoch), 1))
				for i := range 50 {
					id, n := fmt.Sprint("user-", first+i), first+i+1
					list = append(list, s.event(events.MemberJoined, "presence-a", n, id))
					want = append(want, strings.Replace(numbered("member_added", "presence-a", i+2, n, id), `"epoch":1000`, fmt.Sprintf(`"epoch":%d`, epoch), 1))
				}
				for i := range list {
					list[i].Epoch = epoch
				}
				if s.Put(list) {
					t.Fatal("the queue is full")
				}
			}
			joins(1000, 0)
			// A refusal is given up after five attempts where there is no patience.
			testkit.Eventually(t, "six attempts fail", func() bool { return s.refusals() >= 6 })
			s.Close(zap.NewNop(), time.Now())
			s.open()
			s.Refresh()
			joins(2000, 50)
			before := s.refusals()
			testkit.Eventually(t, "another attempt fails", func() bool { return s.refusals() > before })
			s.setStatus(http.StatusOK)
			s.expect(t, want...)
		})
	}
}
