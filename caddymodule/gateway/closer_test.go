package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// closeLog records the sessions that a closer ends.
type closeLog struct {
	mu    sync.Mutex
	lines []string
}

// take returns what was closed since the last look, in order.
func (l *closeLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// closes returns a closer whose sessions end by being recorded, with names for them.
func closes() (*closer, *closeLog, func(names ...string) []*Session) {
	var (
		log   closeLog
		names sync.Map
		c     *closer
	)
	c = newCloser(func(s *Session, o order) {
		name, _ := names.Load(s)
		log.mu.Lock()
		log.lines = append(log.lines, fmt.Sprintf("%v %s %v", name, o.reason, o.reconnect))
		log.mu.Unlock()
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		c.forget(s)
	})
	return c, &log, func(all ...string) (list []*Session) {
		for _, name := range all {
			s := new(Session)
			names.Store(s, name)
			list = append(list, s)
		}
		return list
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
	}
	return names
}

func TestClosesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log, sessions := closes()
		large, small := testkit.MustHost(t, "large.example"), testkit.MustHost(t, "small.example")
		const many = 50_000
		if n := c.add(large, sessions(manyNames(many)...), order{reason: "all"}); n != many {
			t.Errorf("%d wait", n)
		}
		closed, ticks := 0, 0
		for ; closed < many; ticks++ {
			synctest.Wait()
			closed += len(log.take())
			if limit := closesPerSecond*ticks/100 + closesPerSecond/100; closed > limit {
				t.Fatalf("%d are closed after %d ticks, want %d at most", closed, ticks, limit)
			}
			time.Sleep(closeTick)
		}
		if want := 100*many/closesPerSecond - 1; ticks != want+1 && ticks != want {
			t.Errorf("it took %d ticks of 10 ms, want %d", ticks, want)
		}
		// Time without closes is saved up for one tick only.
		time.Sleep(time.Minute)
		c.add(large, sessions(manyNames(100)...), order{})
		c.add(small, sessions("x"), order{})
		synctest.Wait()
		if got := len(log.take()); got != closesPerSecond/100 {
			t.Errorf("%d are closed at once", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(c.orders)+len(c.queues)+len(c.turns) != 0 || c.running {
			t.Errorf("afterwards, the closer is %+v", c)
		}
	})
}

// A host with a single connection does not wait for one with very many.
func TestHostsTakeTurnsWithCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log, sessions := closes()
		c.add(testkit.MustHost(t, "large.example"), sessions(manyNames(10_000)...), order{reason: "all"})
		time.Sleep(time.Second)
		synctest.Wait()
		log.take()
		c.add(testkit.MustHost(t, "small.example"), sessions("x", "y"), order{reason: "two"})
		time.Sleep(closeTick)
		synctest.Wait()
		got := log.take()
		if !slices.Contains(got, "x two false") || !slices.Contains(got, "y two false") || len(got) != closesPerSecond/100 {
			t.Errorf("closed in the next round: %q", got)
		}
		time.Sleep(time.Minute)
	})
}

func TestLaterOrdersOfASession(t *testing.T) {
	again, ban := order{reconnect: true, reason: "again"}, order{reason: "ban"}
	for _, tt := range []struct {
		name   string
		orders []order
		want   string
	}{
		{"the stricter one replaces", []order{again, ban}, "x ban false"},
		{"the milder one does not", []order{ban, again}, "x ban false"},
		{"the first of equal ones stays", []order{ban, {reason: "other"}}, "x ban false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, log, sessions := closes()
				host, list := testkit.MustHost(t, "a.example"), sessions("x")
				c.add(host, sessions(manyNames(100)...), order{}) // so that x waits
				synctest.Wait()
				for i, o := range tt.orders {
					if n := c.add(host, list, o); n != 1-min(i, 1) {
						t.Errorf("order %d counts %d sessions", i, n)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := log.take(); got[len(got)-1] != tt.want {
					t.Errorf("the last one is %q, want %q", got[len(got)-1], tt.want)
				}
			})
		})
	}
}

// A session that ends while it waits costs no time, and leaves nothing behind.
func TestSessionThatEndsBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log, sessions := closes()
		host := testkit.MustHost(t, "a.example")
		list := sessions(manyNames(5000)...)
		c.add(host, list, order{reason: "ban"})
		synctest.Wait()
		for _, s := range list[:4990] {
			s.mu.Lock()
			s.ended = true
			s.mu.Unlock()
			c.forget(s)
		}
		late := sessions("late")
		late[0].ended = true // between being found and being added
		if n := c.add(host, late, order{}); n != 0 {
			t.Errorf("%d ended sessions are counted", n)
		}
		time.Sleep(closeTick)
		synctest.Wait()
		if got := len(log.take()); got != 20+10 {
			t.Errorf("%d are closed after a tick", got)
		}
		if len(c.orders) != 0 || c.running {
			t.Errorf("%d orders are left", len(c.orders))
		}
	})
}

// deaf is a network connection that takes everything and says nothing.
type deaf struct{ net.Conn }

func (deaf) Write(p []byte) (int, error)      { return len(p), nil }
func (deaf) SetReadDeadline(time.Time) error  { return nil }
func (deaf) SetWriteDeadline(time.Time) error { return nil }
func (deaf) SetDeadline(time.Time) error      { return nil }
func (deaf) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (deaf) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (deaf) Read([]byte) (int, error)         { select {} }
func (deaf) Close() error                     { return nil }

// enter connects a session that does not read, and joins channels.
func enter(t *testing.T, h *Hub, host string, st *site.Site, user string, channels ...string) *Session {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+host+"/message/socket", http.NoBody)
	for key, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(key, value)
	}
	sock, err := socket.Upgrade(hijacked{httptest.NewRecorder(), deaf{}}, r, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.connect(sock, testkit.MustHost(t, host), st, site.Login{User: &presence.User{ID: user}}, netip.Prefix{}, Native{})
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if err := s.conn.Join(channel, presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// While a channel with 50,000 listeners is disconnected, the host goes on: connections come, join,
// send and receive, and another host disconnects at once.
func TestLargeChannelIsDisconnectedInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, st := newTestHub(t), testSite()
		const many, portal = 50_000, "portal.example.com"
		for i := range many {
			enter(t, h, portal, st, fmt.Sprint("u", i%1000), "hall")
		}
		other := enter(t, h, "other.example.com", st, "bob", "hall")
		name := testkit.MustHost(t, portal)
		host := h.Registry.Host(name)
		if n := h.Disconnect(name, "hall", &cluster.Call{Reason: "closing"}); n != many {
			t.Fatalf("%d will be disconnected", n)
		}
		if n := h.Disconnect(name, "hall", &cluster.Call{}); n != 0 {
			t.Errorf("%d are counted twice", n)
		}
		h.Disconnect(other.tenant.name, "", &cluster.Call{Users: []string{"bob"}})
		synctest.Wait() // the first round of closes takes no time
		for second := range many / closesPerSecond {
			newcomer := enter(t, h, portal, st, "new", "hall")
			if second%10 == 0 {
				before, listeners := newcomer.counters.delivered.Load(), host.Stats().Conns
				if err := newcomer.conn.Send([]string{"hall"}, []byte("{}")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := newcomer.counters.delivered.Load() - before; got != uint64(listeners) {
					t.Errorf("a message was delivered to %d of %d listeners", got, listeners)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			left := host.Stats().Conns
			if want := many - closesPerSecond*(second+1); left < want-closesPerSecond/100 || left > want+closesPerSecond/100+1 {
				t.Errorf("%d connections are left after %d s, want %d", left, second+1, want)
			}
			if second == 0 && !other.hasEnded() {
				t.Error("another host waits")
			}
			newcomer.sock.Close(socket.CloseGoingAway, "", socket.Cause{Reason: socket.ReasonClient})
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if h.Registry.Host(name) != nil || len(h.closer.orders) != 0 {
			t.Errorf("%d orders are left, and connections: %v", len(h.closer.orders), h.Registry.Host(name) != nil)
		}
		counts := countsBy(t, other.counters.drops, "reason")
		if counts["disconnected"] != many+1 {
			t.Errorf("the connections ended by %v", counts)
		}
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
}

// What the client sees, and whether watchers see its user for the grace period.
func TestDisconnectedSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		call cluster.Call
		want string
	}{
		{"for good", cluster.Call{Reason: "banned"}, "close 4002 banned"},
		{"without a reason", cluster.Call{}, "close 4002 disconnected"},
		{"to reconnect", cluster.Call{Reconnect: true, Reason: "new rights"}, "close 4200 new rights"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := testSite()
				st.Bounds.Grace = 3 * time.Second
				st.MakeRules()
				d := talk(t, st, &presence.User{ID: "ada"})
				watcher := &watchedFrames{}
				w, err := d.session.hub.Registry.Connect(d.session.tenant.name, d.session.tenant, &presence.User{ID: "w"}, watcher)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				if err := w.Join("room", presence.WatchList, ""); err != nil {
					t.Fatal(err)
				}
				d.ask(`{"type":"join","channel":"room"}`)
				call := tt.call
				call.Conns = []presence.ID{d.session.conn.ID()}
				if n := d.session.hub.Disconnect(d.session.tenant.name, "", &call); n != 1 {
					t.Errorf("%d are disconnected", n)
				}
				if got := d.read(); got != tt.want {
					t.Errorf("the client reads %q, want %q", got, tt.want)
				}
				if got := d.ended(); got[socket.ReasonDisconnected] != 1 {
					t.Errorf("it is counted as %v", got)
				}
				synctest.Wait()
				if left := watcher.has(`"left":[{"id":"ada"`); left == call.Reconnect {
					t.Errorf("watchers see at once that the user left: %v", left)
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				if !watcher.has(`"left":[{"id":"ada"`) {
					t.Error("watchers still see the user")
				}
			})
		})
	}
}

// watchedFrames is an Outbox that keeps its frames.
type watchedFrames struct {
	mu  sync.Mutex
	all strings.Builder
}

func (f *watchedFrames) Push(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all.Write(frame)
}

func (f *watchedFrames) Queue(frames []byte, _ int) bool {
	f.Push(frames)
	return false
}

func (f *watchedFrames) Flush() {}

func (f *watchedFrames) has(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.all.String(), text)
}
