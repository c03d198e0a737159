package events

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/events"
)

// scene is a sink with receivers of one host.
type scene struct {
	*Events
	folder    string
	host      presence.HostName
	mu        sync.Mutex
	receivers []*Receiver
	restarted []string
	status    atomic.Int64
	got       [][]string // events of each receiver
}

func newScene(t *testing.T, receivers ...Receiver) *scene {
	t.Helper()
	s := &scene{folder: t.TempDir(), host: testkit.MustHost(t, "portal.example.com"), got: make([][]string, len(receivers))}
	s.status.Store(http.StatusOK)
	for i, r := range receivers {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.receive(t, i, w, req) }))
		t.Cleanup(server.Close)
		r.Endpoint = &backend.Endpoint{URL: server.URL, Secrets: []backend.Secret{backend.Secret("a secret of this test")}, Timeout: 10 * time.Second, Queue: 64 << 10}
		r.ID, r.Number = backend.ReceiverOf(server.URL), fmt.Sprint(i+1)
		s.receivers = append(s.receivers, &r)
	}
	s.Events = New(Config{
		Folder: s.folder, Logger: zap.NewNop(),
		Receivers: func(presence.HostName) []*Receiver {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.receivers
		},
		Wanted: func() bool { return true },
		Restart: func(_ presence.HostName, shard uint8) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.restarted = append(s.restarted, fmt.Sprint(shard))
		},
		Name:  func(presence.HostName, []presence.User) []string { return nil },
		Label: presence.HostName.String,
	})
	t.Cleanup(func() { s.Close(zap.NewNop(), time.Now()) })
	return s
}

func (s *scene) receive(t *testing.T, i int, w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	if status := int(s.status.Load()); status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	var body struct{ Events []json.RawMessage }
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Errorf("%v: %s", err, raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range body.Events {
		_, text, _ := strings.Cut(string(e), `,"type":`) // without the random ID
		s.got[i] = append(s.got[i], `{"type":`+text)
	}
}

func (s *scene) events(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got[i], "\n")
}

func (s *scene) event(of events.Type, channel string, records ...string) events.Event {
	return events.Event{Type: of, Host: s.host, Shard: 3, Epoch: 1795737600123, Channel: channel, Records: records, Count: 3, Time: 1795737612345}
}

const ada = `{"id":"ada","email":"ada@example.com"}`

func TestReceiversGetWhatTheyWant(t *testing.T) {
	s := newScene(t,
		Receiver{Types: DefaultTypes},
		Receiver{Types: AllTypes, Channels: []string{"sales*"}},
		Receiver{Types: TypesOf(events.ChannelVacated)},
		Receiver{Types: TypesOf(events.UserOffline)},
	)
	if s.Put([]events.Event{
		s.event(events.ChannelState, "sales", ada, `{"id":"bob","email":""}`), s.event(events.ChannelState, "sales", `{"id":"eve","email":""}`),
		s.event(events.UserOnline, "", ada), s.event(events.EpochComplete, ""),
	}) {
		t.Error("the queue is full")
	}
	s.Put([]events.Event{
		s.event(events.ChannelOccupied, "a \"b\""), s.event(events.MemberJoined, "sales", ada), s.event(events.MemberLeft, "support", ada),
		s.event(events.ChannelVacated, "sales"), s.event(events.UserOffline, "", ada),
	})
	head := func(of string, seq int) string {
		return fmt.Sprintf(`{"type":%q,"host":"portal.example.com","shard":3,"epoch":1795737600123,"seq":%d`, of, seq)
	}
	const end = `,"time":1795737612345}`
	states := func(seq int) []string {
		return []string{
			head("channel.state", seq) + `,"channel":"sales","users":[` + ada + `,{"id":"bob","email":""}],"count":3` + end,
			head("channel.state", seq+1) + `,"channel":"sales","users":[{"id":"eve","email":""}],"count":3` + end,
		}
	}
	for i, want := range [][]string{
		append(states(1),
			head("epoch.complete", 3)+end,
			head("channel.occupied", 4)+`,"channel":"a \"b\"","count":3`+end,
			head("member.joined", 5)+`,"channel":"sales","user":`+ada+`,"count":3`+end,
			head("member.left", 6)+`,"channel":"support","user":`+ada+`,"count":3`+end,
			head("channel.vacated", 7)+`,"channel":"sales","count":3`+end),
		append(states(1),
			head("user.online", 3)+`,"user":`+ada+end,
			head("epoch.complete", 4)+end,
			head("member.joined", 5)+`,"channel":"sales","user":`+ada+`,"count":3`+end,
			head("channel.vacated", 6)+`,"channel":"sales","count":3`+end,
			head("user.offline", 7)+`,"user":`+ada+end),
		{
			head("channel.state", 1) + `,"channel":"sales","count":3` + end,
			head("epoch.complete", 2) + end,
			head("channel.vacated", 3) + `,"channel":"sales","count":3` + end,
		},
		{head("epoch.complete", 1) + end, head("user.offline", 2) + `,"user":` + ada + end},
	} {
		text := strings.Join(want, "\n")
		testkit.Eventually(t, fmt.Sprintf("receiver %d gets its events", i+1), func() bool { return len(s.events(i)) >= len(text) })
		if got := s.events(i); got != text {
			t.Errorf("receiver %d got\n%s\nwant\n%s", i+1, got, text)
		}
	}
}

func TestNumbersBeginAnewWithTheEpoch(t *testing.T) {
	s := newScene(t, Receiver{Types: DefaultTypes})
	for epoch := range 3 {
		for range 2 {
			e := s.event(events.ChannelOccupied, "sales")
			e.Epoch = uint64(epoch + 1)
			s.Put([]events.Event{e})
		}
	}
	testkit.Eventually(t, "all arrive", func() bool { return strings.Count(s.events(0), "\n") == 5 })
	for epoch := 1; epoch <= 3; epoch++ {
		for seq := 1; seq <= 2; seq++ {
			if want := fmt.Sprintf(`"epoch":%d,"seq":%d,`, epoch, seq); !strings.Contains(s.events(0), want) {
				t.Errorf("there is no %s in\n%s", want, s.events(0))
			}
		}
	}
}

// A Speaker that begins a new epoch while a plugin names users of the last one can put that late.
// It must not begin the numbers of the new epoch again.
func TestLateEventsOfALowerEpochAreDropped(t *testing.T) {
	s := newScene(t, Receiver{Types: DefaultTypes})
	for _, epoch := range []uint64{2, 1, 2} {
		e := s.event(events.ChannelOccupied, "sales")
		e.Epoch = epoch
		if s.Put([]events.Event{e}) {
			t.Error("the queue is full")
		}
	}
	testkit.Eventually(t, "the second event of the epoch arrives", func() bool { return strings.Contains(s.events(0), `"epoch":2,"seq":2,`) })
	if got := s.events(0); strings.Contains(got, `"epoch":1,`) || strings.Count(got, `"seq":1,`) != 1 {
		t.Errorf("got\n%s", got)
	}
}

// TestFullQueueThrowsTheFullestShardAway fills a queue whose receiver is down.
func TestFullQueueThrowsTheFullestShardAway(t *testing.T) {
	s := newScene(t, Receiver{Types: DefaultTypes})
	s.status.Store(http.StatusServiceUnavailable)
	put := func(shard uint8, epoch uint64, n int) (full bool) {
		var list []events.Event
		for i := range n {
			e := s.event(events.MemberJoined, fmt.Sprint("channel-", i), ada)
			e.Shard, e.Epoch = shard, epoch
			if list = append(list, e); len(list) == 10 || i == n-1 {
				if s.Put(list) {
					return true
				}
				list = nil
			}
		}
		return false
	}
	if put(1, 1, 30) || put(2, 1, 150) {
		t.Fatal("the queue is full too early")
	}
	if put(3, 1, 100) {
		t.Error("a shard that is not the fullest was thrown away")
	}
	restarted := func(want string) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return strings.Join(s.restarted, " ") == want
		}
	}
	testkit.Eventually(t, "shard 2 begins a new epoch", restarted("2"))
	if !put(2, 1, 1) {
		t.Error("the broken epoch goes on")
	}
	if put(2, 2, 1) {
		t.Error("the new epoch is refused")
	}
	if !put(3, 1, 1000) {
		t.Error("the queue has no bound")
	}
	w := 0
	s.Courier().Waiting(func(_ backend.Stream, of backend.Waiting) { w = int(of.Bytes) })
	if w == 0 || w > 64<<10 {
		t.Errorf("%d bytes are queued", w)
	}
	s.status.Store(http.StatusOK)
	s.Refresh()
	testkit.Eventually(t, "the others arrive", func() bool { return strings.Count(s.events(0), `"shard":1`) == 30 })
	if n := strings.Count(s.events(0), `"shard":2`); n > 1+150 {
		t.Errorf("%d events of shard 2", n)
	}
	counted := testkit.Metrics(t, s.metrics.Discarded)
	if n := counted["caddy_rollcall_events_dropped_total portal.example.com full 1"]; n < 150 {
		t.Errorf("%v are counted", counted)
	}
}

// What is queued for a URL that the configuration no longer has is thrown away, also if it was
// removed while the process did not run.
func TestEventsForARemovedReceiverAreThrownAway(t *testing.T) {
	for name, remove := range map[string]func(s *scene){
		"by a reload": func(*scene) {},
		"before a start": func(s *scene) {
			s.Close(zap.NewNop(), time.Now())
			s.Reopen()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, Receiver{Types: DefaultTypes}, Receiver{Types: DefaultTypes})
			s.status.Store(http.StatusServiceUnavailable)
			s.Put([]events.Event{s.event(events.ChannelOccupied, "sales")})
			remove(s)
			s.mu.Lock()
			s.receivers = s.receivers[:1]
			s.mu.Unlock()
			s.Refresh()
			testkit.Eventually(t, "one queue is left", func() bool {
				courier := s.Courier()
				if courier == nil {
					return false
				}
				var left []string
				courier.Waiting(func(of backend.Stream, _ backend.Waiting) { left = append(left, of.Receiver) })
				return len(left) == 1 && left[0] == s.receivers[0].ID
			})
			testkit.Eventually(t, "the event is counted", func() bool { // after its queue has gone
				return testkit.Metrics(t, s.metrics.Discarded)["caddy_rollcall_events_dropped_total portal.example.com removed "] == 1
			})
		})
	}
}

// A failed disk must not stop the Speaker for good.
func TestWithoutAFileShardsAreRestarted(t *testing.T) {
	s := newScene(t, Receiver{Types: DefaultTypes})
	s.Close(zap.NewNop(), time.Now())
	if !s.Put([]events.Event{s.event(events.ChannelOccupied, "sales")}) {
		t.Error("the event counts as queued")
	}
	testkit.Eventually(t, "the shard begins a new epoch", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.restarted) == 1 && s.restarted[0] == "3"
	})
}

// The file of a queue is bounded as docs/events.md says, whatever is added and thrown away while
// the receiver is down.
func TestFileIsBounded(t *testing.T) {
	s := newScene(t, Receiver{Types: DefaultTypes})
	s.status.Store(http.StatusServiceUnavailable)
	const queue = 2 << 20
	s.receivers[0].Queue = queue
	state := make([]string, events.MaxState) // up to 200 KB of an event
	for i := range state {
		state[i] = `{"id":"ada","email":"ada@example.com","info":{"about":"` + strings.Repeat("x", i) + `"}}`
	}
	var all sync.WaitGroup
	var full atomic.Int64
	for shard := range uint8(events.Shards) {
		all.Go(func() {
			for epoch := range uint64(4) {
				for n := range 40 {
					list := []events.Event{s.event(events.ChannelState, "sales", state[:(37*n*int(shard+1))%len(state)]...)}
					for range 100 {
						list = append(list, s.event(events.MemberJoined, fmt.Sprint("channel-", n), ada))
					}
					for i := range list {
						list[i].Shard, list[i].Epoch = shard, epoch+1
					}
					if s.Put(list) {
						full.Add(1)
						break
					}
				}
			}
		})
	}
	all.Wait()
	info, err := os.Stat(filepath.Join(s.folder, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	if full.Load() < 2*events.Shards {
		t.Errorf("the queue was full %d times only", full.Load())
	}
	if most := int64(4*queue + 16<<20); info.Size() > most {
		t.Errorf("the file has %d bytes, want at most %d", info.Size(), most)
	}
	t.Logf("%d bytes, of a queue of %d that was full %d times", info.Size(), queue, full.Load())
}

func BenchmarkPut(b *testing.B) {
	host, _ := presence.ParseHostName("portal.example.com")
	r := &Receiver{Types: DefaultTypes}
	s := new(stream)
	list := []events.Event{{Type: events.MemberJoined, Host: host, Shard: 3, Epoch: 1, Channel: "sales", Records: []string{ada}}}
	b.ReportAllocs()
	for b.Loop() {
		s.items(r, list)
	}
}

func TestHostIsRestartedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		for range 3 {
			s.RestartLater(s.host, time.Minute)
		}
		s.RestartLater(testkit.MustHost(t, "other.example.com"), time.Hour)
		time.Sleep(30 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		slices.Sort(s.restarted)
		if got := strings.Join(s.restarted, ""); got != "01234567" {
			t.Errorf("the shards %s begin epochs", got)
		}
	})
}

// A host that cannot get a queue begins no epochs, which would be thrown away, until it can.
func TestHostsBeyondTheLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		const url = "http://127.0.0.1:0" // nobody accepts
		to := &backend.Endpoint{URL: url, Secrets: []backend.Secret{backend.Secret("a secret of this test")}, Timeout: time.Second, Queue: 64 << 10}
		s.receivers = []*Receiver{{Endpoint: to, ID: backend.ReceiverOf(url), Number: "1", Types: DefaultTypes}}
		var all sync.WaitGroup
		host := func(i int) presence.HostName { return testkit.MustHost(t, fmt.Sprintf("host-%d.example.com", i)) }
		for i := range backend.MaxHosts {
			e := s.event(events.ChannelOccupied, "sales")
			e.Host = host(i)
			all.Go(func() {
				if s.Put([]events.Event{e}) {
					t.Errorf("%v has no queue", e.Host)
				}
			})
		}
		all.Wait()
		if !s.Put([]events.Event{s.event(events.ChannelOccupied, "sales")}) {
			t.Error("there is no limit of queues")
		}
		restarts := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.restarted)
		}
		time.Sleep(time.Minute)
		if n := restarts(); n != 0 {
			t.Errorf("%d epochs without a queue", n)
		}
		if n := s.Courier().Purge(backend.Stream{Host: host(0), Receiver: s.receivers[0].ID}, 3); n != 1 {
			t.Errorf("%d events are thrown away", n)
		}
		time.Sleep(3 * time.Minute)
		if n := restarts(); n != 1 {
			t.Errorf("%d epochs when there is room", n)
		}
		s.Close(zap.NewNop(), time.Now())
	})
}
