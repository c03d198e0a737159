package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// hijacked is a ResponseWriter whose connection is a pipe: time can be faked over it.
type hijacked struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// testSite is a site without a configuration.
func testSite() *site.Site {
	st := &site.Site{
		Retired: new(atomic.Bool),
		User:    func(*http.Request) (presence.User, error) { return presence.User{}, nil },
		Logger:  zap.NewNop(),
		Limits:  site.Limits{Frame: 64 << 10, Queue: 1 << 20, FramesPerSecond: 1000, Channels: 128},
		Ping:    site.Pings{Interval: 25 * time.Second, Timeout: 35 * time.Second},
	}
	st.Bounds = presence.Rules{MaxChannels: 3, MaxName: 20}
	st.MakeRules()
	return st
}

// dialogue is the client's end of a session, in a bubble of testing/synctest.
type dialogue struct {
	net.Conn
	t       *testing.T
	session *Session
}

// talk begins a session on a hub of its own and reads the welcome.
func talk(t *testing.T, st *site.Site, user *presence.User) *dialogue {
	t.Helper()
	return talkAfter(t, st, user, func(*Session) {})
}

// talkAfter is talk with a step between connecting and the welcome.
func talkAfter(t *testing.T, st *site.Site, user *presence.User, happens func(s *Session)) *dialogue {
	t.Helper()
	h := newTestHub(t)
	t.Cleanup(func() {
		synctest.Wait()
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return talkAfterOn(t, h, st, user, happens)
}

// talkOn begins a session on a hub and reads the welcome.
func talkOn(t *testing.T, h *Hub, st *site.Site, user *presence.User) *dialogue {
	t.Helper()
	return talkAfterOn(t, h, st, user, func(*Session) {})
}

func talkAfterOn(t *testing.T, h *Hub, st *site.Site, user *presence.User, happens func(s *Session)) *dialogue {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
	for key, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(key, value)
	}
	sock, err := socket.Upgrade(hijacked{httptest.NewRecorder(), far}, r, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.connect(sock, testkit.MustHost(t, "portal.example.com"), st, site.Login{User: user}, netip.Prefix{}, Native{})
	if err != nil {
		t.Fatal(err)
	}
	happens(s)
	s.start(time.Time{})
	d := &dialogue{near, t, s}
	if got := d.read(); !strings.HasPrefix(got, `{"type":"welcome","connection":"`+s.conn.ID().String()+`"`) {
		t.Fatalf("the first frame is %s", got)
	}
	return d
}

// read returns the payload of the next text frame, "close CODE REASON", or "" when the connection
// has ended. It answers pings.
func (d *dialogue) read() string {
	d.t.Helper()
	for {
		var head [4]byte
		if _, err := io.ReadFull(d, head[:2]); err != nil {
			return ""
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(d, head[2:4]); err != nil {
				return ""
			}
			size = int(head[2])<<8 | int(head[3])
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(d, payload); err != nil {
			return ""
		}
		switch head[0] {
		case 0x81:
			return string(payload)
		case 0x88:
			return fmt.Sprintf("close %d %s", int(payload[0])<<8|int(payload[1]), payload[2:])
		case 0x89:
			d.send(0x8a, string(payload))
		case 0x8a:
			return "pong"
		}
	}
}

// send writes a frame; it is masked with zeros.
func (d *dialogue) send(head byte, payload string) {
	d.t.Helper()
	b := []byte{head, 0x80 | byte(len(payload))}
	if len(payload) > 125 {
		b = []byte{head, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}
	}
	b = append(append(b, 0, 0, 0, 0), payload...)
	if _, err := d.Write(b); err != nil {
		d.t.Errorf("writing: %v", err)
	}
}

// ask sends a text and returns the answer.
func (d *dialogue) ask(text string) string {
	d.t.Helper()
	d.send(0x81, text)
	return d.read()
}

// ended returns the reasons that disconnections were counted with.
func (d *dialogue) ended() map[socket.Reason]uint64 {
	synctest.Wait()
	counts := make(map[socket.Reason]uint64)
	for reason, n := range countsBy(d.t, d.session.counters.drops, "reason") {
		if n > 0 {
			counts[socket.Reason(reason)] = n
		}
	}
	return counts
}

// countsBy returns the counters of a vector by the values of the labels.
func countsBy(t *testing.T, of *prometheus.CounterVec, labels ...string) map[string]uint64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(of); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]uint64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				if slices.Contains(labels, l.GetName()) {
					values = append(values, l.GetValue())
				}
			}
			counts[strings.Join(values, " ")] += uint64(m.GetCounter().GetValue())
		}
	}
	return counts
}

// newTestHub returns a hub without a process.
func newTestHub(t *testing.T) *Hub {
	t.Helper()
	return New(Config{Folder: t.TempDir(), Exiting: func() bool { return false }})
}

func TestSessionAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, testSite(), &presence.User{ID: "USER_1", Email: "a@example.com"})
		private := d.session.conn.ID().PrivateChannel()
		for _, step := range []struct{ sent, want string }{
			{`{"type":"ping","id":1}`, `{"type":"pong","id":1}`},
			{`hello`, `"code":"bad_frame"`},
			{`{"id":2,"type":"shout"}`, `"id":2,"code":"unknown_type"`},
			{`{"id":3,"type":"join"}`, `"id":3,"code":"bad_channel"`},
			{`{"id":4,"type":"join","channel":""}`, `"id":4,"code":"bad_channel"`},
			{`{"id":5,"type":"join","channel":"a name of more than 20"}`, `"id":5,"code":"bad_channel"`},
			{`{"id":6,"type":"join","channel":"a\u0000"}`, `"id":6,"code":"bad_channel"`},
			{`{"id":30,"type":"join","channel":"anonymous\ud800"}`, `"id":30,"code":"bad_channel"`},
			{`{"id":31,"type":"join","channel":"\udc00\ud800"}`, `"id":31,"code":"bad_channel"`},
			{`{"id":32,"type":"join","channel":"\ufffd"}`, `"id":32,"code":"bad_channel"`},
			{`{"id":33,"type":"leave","channel":"anonymous\ud800"}`, `"id":33,"code":"bad_channel"`},
			{`{"id":34,"type":"send","channels":["anonymous\udfff"],"message":{}}`, `"id":34,"code":"bad_channel"`},
			{`{"id":7,"type":"join","channel":"` + private + `"}`, `"id":7,"code":"reserved_channel"`},
			{`{"id":8,"type":"leave","channel":"` + private + `"}`, `"id":8,"code":"reserved_channel"`},
			{`{"id":9,"type":"leave","channel":"room"}`, `"id":9,"code":"not_joined"`},
			{`{"id":10,"type":"join","channel":"room","presence":"list"}`, `{"type":"joined","id":10,"channel":"room","kind":"authenticated","seq":`},
			{`{"id":11,"type":"join","channel":"room"}`, `{"type":"joined","id":11,"channel":"room","kind":"authenticated"}`},
			{`{"id":12,"type":"join","channel":"anonymous1","presence":"count"}`, `"kind":"anonymous"`},
			{`{"id":13,"type":"join","channel":"anonymous\ud83d\ude00"}`, `"type":"joined"`},
			{`{"id":14,"type":"join","channel":"anonymous3"}`, `"id":14,"code":"too_many_channels"`},
			{`{"id":15,"type":"leave","channel":"room"}`, `{"type":"left","id":15,"channel":"room"}`},
			{`{"id":17,"type":"send","channels":["room"],"message":{}}`, `"id":17,"code":"not_joined"`},
			{`{"id":18,"type":"send","channels":["anonymous1","room"],"message":{}}`, `"id":18,"code":"not_joined"`},
			{`{"id":19,"type":"send","channels":["` + private + `"],"message":{}}`, `"id":19,"code":"reserved_channel"`},
			{`{"id":20,"type":"send","channels":["a\u0000"],"message":{}}`, `"id":20,"code":"bad_channel"`},
			{`{"id":21,"type":"send","channels":[],"message":{}}`, `"id":21,"code":"bad_frame"`},
			{`{"id":22,"type":"send","channels":["anonymous1"],"message":7}`, `"id":22,"code":"bad_frame"`},
			{`{"id":16,"type":"authenticate","token":"abc"}`, `"id":16,"code":"bad_token"`},
		} {
			if got := d.ask(step.sent); !strings.Contains(got, step.want) || !json.Valid([]byte(got)) {
				t.Errorf("%s: got %s, want %s", step.sent, got, step.want)
			}
		}
		d.send(0x82, `{"type":"ping"}`)
		if got := d.read(); !strings.Contains(got, `"code":"bad_frame"`) {
			t.Errorf("a binary frame is answered with %s", got)
		}
		joins := fmt.Sprint(countsBy(t, d.session.counters.joins, "result"))
		if want := "map[bad_channel:6 ok:4 reserved_channel:1 too_many_channels:1]"; joins != want {
			t.Errorf("the joins are counted as %s, want %s", joins, want)
		}
	})
}

func TestJoinOverTheChannelsOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := testSite()
		st.SetRules(&presence.Rules{Classifier: presence.Patterns{}, MaxChannels: 3, MaxHostChannels: 1, MaxName: 20})
		d := talk(t, st, nil)
		for _, step := range []struct{ sent, want string }{
			{`{"id":1,"type":"join","channel":"anonymous1"}`, `"type":"joined"`},
			{`{"id":2,"type":"join","channel":"anonymous2"}`, `"id":2,"code":"too_many_channels","message":"too many channels on this host: the limit is 1"`},
			{`{"id":3,"type":"leave","channel":"anonymous1"}`, `"type":"left"`},
			{`{"id":4,"type":"join","channel":"anonymous2"}`, `"type":"joined"`},
		} {
			if got := d.ask(step.sent); !strings.Contains(got, step.want) {
				t.Errorf("%s: got %s, want %s", step.sent, got, step.want)
			}
		}
	})
}

// A client cannot send in the name of the backend.
func TestClientIsNotTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, testSite(), nil)
		d.ask(`{"type":"join","channel":"anonymous1"}`)
		d.send(0x81, `{"type":"send","backend":true,"from":null,"channels":["anonymous1"],"message":{"backend":true},"backend":true}`)
		got := []string{d.read(), d.read()}
		slices.Sort(got) // the answer and the message come in any order
		want := []string{`{"type":"message","channel":"anonymous1","from":null,"message":{"backend":true}}`, `{"type":"sent"}`}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSessionSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, testSite(), &presence.User{ID: "USER_1", Email: "a@example.com"})
		for _, channel := range []string{"room", "anonymous1"} {
			d.ask(`{"type":"join","channel":"` + channel + `"}`)
		}
		d.send(0x81, `{"type":"send","id":1,"channels":["room","anonymous1","room"],"message":{"text": "hi"}}`)
		got := []string{d.read(), d.read(), d.read()} // the answer and the messages come in any order
		slices.Sort(got)
		want := []string{
			`{"type":"message","channel":"anonymous1","from":{"id":"USER_1"},"message":{"text": "hi"}}`,
			`{"type":"message","channel":"room","from":{"id":"USER_1"},"message":{"text": "hi"}}`,
			`{"type":"sent","id":1}`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if got := d.ask(`{"type":"send","channels":["other"],"message":{}}`); !strings.Contains(got, "not_joined") {
			t.Errorf("got %s", got)
		}
		c := d.session.counters
		if got := fmt.Sprint(countsBy(t, c.messages, "from", "result")); got != "map[client not_joined:1 client ok:1]" || c.delivered.Load() != 2 {
			t.Errorf("messages are counted as %s, %d delivered", got, c.delivered.Load())
		}
	})
}

func TestSessionExplainsWhatASendIsRefusedFor(t *testing.T) {
	s := &Session{}
	for _, test := range []struct {
		err  error
		code wire.Code
	}{
		{fmt.Errorf("%w: much", presence.ErrTooLarge), wire.CodeTooLarge},
		{presence.ErrBusy, wire.CodeRateLimited},
	} {
		if got := codeOf(test.err); got != test.code || s.explain(test.err) != test.err.Error() {
			t.Errorf("%v: %s, %q", test.err, got, s.explain(test.err))
		}
	}
}

func TestSessionOfNobodyNeedsALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, testSite(), nil)
		if got := d.ask(`{"id":1,"type":"join","channel":"room"}`); !strings.Contains(got, `"id":1,"code":"login_required"`) {
			t.Errorf("got %s", got)
		}
	})
}

// failingClassifier fails with a secret in its error.
type failingClassifier struct{}

func (failingClassifier) Classify(presence.HostName, string) (presence.Class, error) {
	return presence.Class{}, fmt.Errorf("canary: a secret of the operator")
}

func TestSessionDoesNotExplainWhatIsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := testSite()
		st.SetRules(&presence.Rules{Classifier: failingClassifier{}})
		d := talk(t, st, nil)
		got := d.ask(`{"id":1,"type":"join","channel":"room"}`)
		if !strings.Contains(got, `"id":1,"code":"unavailable"`) || strings.Contains(got, "canary") {
			t.Errorf("got %s", got)
		}
	})
}

// brokenPlugin is a classifier that fails with a given error.
type brokenPlugin struct{ err error }

func (b brokenPlugin) Classify(presence.HostName, string) (presence.Class, error) {
	return presence.Class{}, b.err
}

func TestSessionLogsAFailureUnlessThePluginDid(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		lines int
	}{
		{"of a plugin", &plugins.Error{Plugin: "mask", Reason: plugins.ReasonTrap, Err: errors.New("unreachable")}, 0},
		{"of something else", errors.New("out of order"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.ErrorLevel)
				st := testSite()
				st.Logger = zap.New(core)
				st.SetRules(&presence.Rules{Classifier: brokenPlugin{test.err}})
				d := talk(t, st, nil)
				got := d.ask(`{"id":1,"type":"join","channel":"room"}`)
				if !strings.Contains(got, `"code":"unavailable"`) || strings.Contains(got, "mask") || logs.Len() != test.lines {
					t.Errorf("got %s, logged %v", got, logs.All())
				}
			})
		})
	}
}

func TestSessionRate(t *testing.T) {
	rated := func(perSecond float64, channels int) *site.Site {
		st := testSite()
		st.Limits.FramesPerSecond, st.Limits.Channels = perSecond, channels
		return st
	}
	t.Run("a burst is answered, one frame more is refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, rated(10, 5), nil)
			for i := range 20 {
				if got := d.ask(`{"type":"ping"}`); got != `{"type":"pong"}` {
					t.Fatalf("frame %d: %s", i, got)
				}
			}
			if got := d.ask(`{"type":"ping","id":"x"}`); !strings.Contains(got, `"id":"x","code":"rate_limited"`) {
				t.Errorf("the frame after the burst is answered with %s", got)
			}
			time.Sleep(time.Second)
			for i := range 9 { // ten were added, and one was owed
				if got := d.ask(`{"type":"ping"}`); got != `{"type":"pong"}` {
					t.Errorf("a second later, frame %d: %s", i, got)
				}
			}
			if got := d.ask(`{"type":"ping"}`); !strings.Contains(got, "rate_limited") {
				t.Errorf("the frame after those is answered with %s", got)
			}
		})
	})
	t.Run("all channels can be joined at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := rated(1, 128)
			st.SetRules(&presence.Rules{Classifier: presence.Patterns{}, MaxChannels: 128})
			d := talk(t, st, nil)
			for i := range 128 {
				if got := d.ask(fmt.Sprintf(`{"type":"join","channel":"anonymous%d"}`, i)); !strings.Contains(got, `"type":"joined"`) {
					t.Fatalf("join %d: %s", i, got)
				}
			}
		})
	})
	t.Run("the allowed rate is never refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, rated(10, 5), nil)
			for i := range 2000 {
				if got := d.ask(`{"type":"ping"}`); got != `{"type":"pong"}` {
					t.Fatalf("frame %d: %s", i, got)
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
	t.Run("a client that continues is closed", func(t *testing.T) {
		for _, test := range []struct {
			name string
			head byte
			text string
		}{
			{"text", 0x81, `{"type":"ping"}`}, {"nonsense", 0x81, "x"}, {"binary", 0x82, ""}, {"pings", 0x89, "x"}, {"pongs", 0x8a, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := talk(t, rated(10, 5), nil)
					sent := 0
					answers := make(chan string)
					go func() {
						var last string
						for got := d.read(); got != ""; got = d.read() {
							last = got
						}
						answers <- last
					}()
					for range 41 { // 20 at once, and as many are refused
						d.send(test.head, test.text)
						sent++
					}
					if got := <-answers; got != "close 4108 too many frames" {
						t.Errorf("after %d frames: %s", sent, got)
					}
					if got := d.ended(); got[socket.ReasonRateLimited] != 1 || len(got) != 1 {
						t.Errorf("counted as %v", got)
					}
				})
			})
		}
	})
	// Pongs that the server asks for do not count.
	t.Run("answers to pings do not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			st := rated(1, 1)
			st.Ping = site.Pings{Interval: 200 * time.Millisecond, Timeout: 10 * time.Second}
			d := talk(t, st, nil)
			go func() {
				for d.read() != "" {
				}
			}()
			time.Sleep(time.Minute)
			if got := d.ended(); len(got) != 0 {
				t.Errorf("the connection was ended: %v", got)
			}
			d.Close()
			synctest.Wait()
		})
	})
}

// signed returns a token that a test site accepts.
func signed(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const testSecret = "0123456789abcdef0123456789abcdef"

func siteWithTokens(t *testing.T) *site.Site {
	t.Helper()
	st := testSite()
	var err error
	if st.Verifier, err = token.New(t.Context(), token.Config{Secret: []byte(testSecret)}); err != nil {
		t.Fatal(err)
	}
	st.Cookie = "rollcall_token"
	return st
}

func TestSessionAuthenticates(t *testing.T) {
	authenticate := func(t *testing.T, d *dialogue, claims jwt.MapClaims) string {
		return d.ask(`{"type":"authenticate","id":1,"token":"` + signed(t, claims) + `"}`)
	}
	t.Run("in place", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, siteWithTokens(t), nil)
			got := authenticate(t, d, jwt.MapClaims{"sub": "USER_1", "email": "a@example.com"})
			if want := `{"type":"authenticated","id":1,"user":{"id":"USER_1","email":"a@example.com"}}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := d.ask(`{"type":"join","channel":"room"}`); !strings.Contains(got, `"type":"joined"`) {
				t.Errorf("joining an authenticated channel: %s", got)
			}
		})
	})
	t.Run("a bad token changes nothing and is not repeated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, siteWithTokens(t), &presence.User{ID: "USER_1"})
			for _, raw := range []string{"", "canary", "canary.canary.canary", signed(t, jwt.MapClaims{"sub": "USER_2", "exp": time.Now().Add(-time.Hour).Unix()})} {
				got := d.ask(`{"type":"authenticate","id":1,"token":"` + raw + `"}`)
				if !strings.Contains(got, `"id":1,"code":"bad_token"`) || strings.Contains(got, "canary") {
					t.Errorf("%s: %s", raw, got)
				}
			}
			if user, _ := d.session.conn.User(); user.ID != "USER_1" {
				t.Errorf("the user is %+v", user)
			}
		})
	})
	t.Run("the connection ends with the token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, siteWithTokens(t), nil)
			start := time.Now()
			authenticate(t, d, jwt.MapClaims{"sub": "USER_1", "exp": start.Add(10 * time.Second).Unix()})
			if got := d.read(); got != "close 4001 token expired" {
				t.Errorf("got %s", got)
			}
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("it ended after %s", took)
			}
			if got := d.ended(); got[socket.ReasonToken] != 1 {
				t.Errorf("counted as %v", got)
			}
		})
	})
	t.Run("another token renews it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, siteWithTokens(t), nil)
			start := time.Now()
			for range 5 {
				authenticate(t, d, jwt.MapClaims{"sub": "USER_1", "exp": time.Now().Add(10 * time.Second).Unix()})
				time.Sleep(8 * time.Second)
			}
			authenticate(t, d, jwt.MapClaims{"sub": "USER_1"}) // never expires
			go func() {
				time.Sleep(time.Minute)
				d.send(0x81, `{"type":"ping"}`)
			}()
			if got := d.read(); got != `{"type":"pong"}` {
				t.Errorf("after %s: %s", time.Since(start), got)
			}
		})
	})
	t.Run("nothing is left of one that ended before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := talk(t, siteWithTokens(t), nil)
			authenticate(t, d, jwt.MapClaims{"sub": "USER_1", "exp": time.Now().Add(time.Hour).Unix()})
			d.Close()
			if got := d.ended(); got[socket.ReasonReset] != 1 {
				t.Errorf("counted as %v", got)
			}
			if hosts := d.session.hub.Registry.Hosts(); len(hosts) != 0 || len(d.session.hub.tenants) != 0 {
				t.Errorf("%d hosts and %d tenants are left", len(hosts), len(d.session.hub.tenants))
			}
		})
	})
}

// A user who is assigned before the welcome is joined after it.
func TestWelcomeComesBeforeAssignments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assigned := func(s *Session) {
			r := assignment.Record{
				Host: s.tenant.name, User: "ada", Channel: "sales", Mode: assignment.Ignore, Version: assignment.Version{Clock: 1 << 60},
			}
			_, _ = s.hub.Assignments.Book.Merge([]assignment.Record{r}) // there is no file to keep it
			synctest.Wait()
		}
		d := talkAfter(t, testSite(), &presence.User{ID: "ada"}, assigned) // reads the welcome
		if got := d.read(); got != testkit.JoinedFrame("sales") {
			t.Errorf("got %s", got)
		}
	})
}
