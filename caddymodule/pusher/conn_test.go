package pusher

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

func opening(r *room, query string, secure bool) gateway.Opening {
	key := "key"
	if query == "unknown" {
		key, query = "unknown", "protocol=7"
	}
	return NewClients().Open(httptest.NewRequest(http.MethodGet, "/app/"+key+"?"+query, nil), r.site.Pusher, key, secure)
}

func TestOpen(t *testing.T) {
	r := newRoom(t)
	for _, test := range []struct {
		name, query string
		code        int
		before      int // code of the error before the close; 0: none
	}{
		{"js", "protocol=7&client=js&version=8.6.0&flash=false", 0, 0},
		{"Java", "protocol=5&client=java-client&version=2.4.4", 0, 0},
		{"the oldest", "protocol=4", 0, 0},
		{"strange version of the library", "protocol=7&version=", 0, 0},
		{"no version", "client=js", 4008, 0},
		{"empty version", "protocol=", 4008, 0},
		{"no number", "protocol=x", 4007, 0},
		{"too new", "protocol=8", 4007, 0},
		{"too old", "protocol=3", 4007, 4007},
		{"negative", "protocol=-7", 4007, 0},
		{"huge", "protocol=99999999999999999999", 4007, 0},
		{"unknown key", "unknown", 4001, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := opening(r, test.query, true)
			if o.Protocol == nil || o.Protocol.Encoding() != Encoding || !o.Protocol.KnowsCodesOnly() {
				t.Fatalf("the protocol is %v", o.Protocol)
			}
			if test.code == 0 {
				if o.Refusal != nil || !o.Protocol.Serves(r.site) {
					t.Errorf("refused: %+v", o.Refusal)
				}
				return
			}
			if o.Refusal == nil || o.Refusal.Code != test.code || o.Refusal.Reason == "" || len(o.Refusal.Reason) > 123 || o.Refusal.Metric == "" {
				t.Fatalf("got %+v", o.Refusal)
			}
			if (o.Refusal.Before != nil) != (test.before != 0) || test.before != 0 && code(t, one(t, o.Refusal.Before)) != test.before {
				t.Errorf("before the close: %q", o.Refusal.Before)
			}
		})
	}
}

func TestOpenWithoutTLS(t *testing.T) {
	r := newRoom(t)
	if o := opening(r, "protocol=7", false); o.Refusal != nil {
		t.Errorf("refused: %+v", o.Refusal)
	}
	r.site.Pusher.TLSOnly = true
	if o := opening(r, "protocol=7", false); o.Refusal == nil || o.Refusal.Code != 4000 {
		t.Errorf("got %+v", o.Refusal)
	}
	if o := opening(r, "protocol=5", false); o.Refusal == nil || o.Refusal.Before == nil {
		t.Errorf("an old client: got %+v", o.Refusal)
	}
	if o := opening(r, "protocol=7", true); o.Refusal != nil {
		t.Errorf("with TLS: refused: %+v", o.Refusal)
	}
}

func TestOpenOnTheHostOfTheApp(t *testing.T) {
	host, err := presence.ParseHostName("tenant.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(t)
	if o := opening(r, "protocol=7", true); !o.Host.IsZero() {
		t.Errorf("the host is %v", o.Host)
	}
	r.app.Host = host
	o := opening(r, "protocol=7", true)
	if o.Host != host || !o.Protocol.Serves(r.site) {
		t.Errorf("the host is %v", o.Host)
	}
	other := *r.site.Pusher
	other.Apps = []app.App{{ID: "101", Keys: r.app.Keys}}
	if o.Protocol.Serves(&site.Site{Pusher: &other}) {
		t.Error("served although the app has moved to another host")
	}
	other.Apps = []app.App{{ID: "101", Host: host, Keys: []app.Key{{Key: "new", Secret: []byte("another secret of it")}}}}
	if !o.Protocol.Serves(&site.Site{Pusher: &other}) {
		t.Error("not served after its key has changed")
	}
}

func TestClientsAreCounted(t *testing.T) {
	r, c := newRoom(t), NewClients()
	for _, client := range []string{"js", "js", "pusher-dotnet-client", "other", "x", ""} {
		c.Open(httptest.NewRequest(http.MethodGet, "/app/key?protocol=7&client="+client, nil), r.site.Pusher, "key", true)
	}
	got := testkit.Metrics(t, c.Collectors()...)
	for name, want := range map[string]float64{"js": 2, "pusher-dotnet-client": 1, "other": 3, "java-client": 0} {
		if n := got["caddy_rollcall_pusher_handshakes_total "+name]; n != want {
			t.Errorf("%s: %v of %v", name, n, got)
		}
	}
}

func TestSubprotocol(t *testing.T) {
	for offered, want := range map[string]string{
		"": "", "foo": "", "pusher-channels-protocol-7": "pusher-channels-protocol-7", "foo, pusher-channels-protocol-4": "pusher-channels-protocol-4",
		"pusher-channels-protocol-3": "", "pusher-channels-protocol-8": "", "pusher-channels-protocol-": "", "pusher-channels-protocol-77": "", "rollcall.v1": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/app/key", nil)
		r.Header.Set("Sec-WebSocket-Protocol", offered)
		if got := new(conn).Subprotocol(r); got != want {
			t.Errorf("%q: got %q", offered, got)
		}
	}
}

func TestTranslate(t *testing.T) {
	for native, want := range map[int]int{
		socket.CloseGoingAway: 4001, socket.CloseLimit: 4004, socket.CloseTokenExpired: 4009, socket.CloseDisconnected: 4009, socket.CloseOrigin: 4009,
		socket.CloseRefused: 4009, socket.CloseSlow: 4100, socket.CloseRateLimited: 4100, socket.CloseUnavailable: 4100, socket.CloseRestart: 4200,
		socket.CloseReconnect: 4200, socket.CloseSilent: 4201, socket.CloseProtocol: 1002, socket.CloseTooLarge: 1009, socket.CloseInternal: 1011, 1000: 1000,
	} {
		for _, version := range []int{5, 7} {
			c := conn{client: newClient("js", version)}
			got, reason, before := c.Translate(native, "reason")
			if got != want || reason == "" {
				t.Errorf("%d: got %d, %q", native, got, reason)
			}
			if tells := want >= 4000 && (version == 5 || native == socket.CloseDisconnected); tells != (before != nil) {
				t.Errorf("%d in version %d: before the close comes %q", native, version, before)
			} else if tells && code(t, one(t, before)) != want {
				t.Errorf("%d: the error before it is %q", native, before)
			}
		}
	}
}

func TestConnectionIDIsThatOfTheSocketID(t *testing.T) {
	c := conn{socket: app.NewSocketID()}
	if c.NewID() != app.ConnID(c.socket) {
		t.Error("an event that excepts the socket_id would reach it")
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	take := func(n int, perSecond float64) (taken int) {
		for range n {
			if b.take(perSecond, now) {
				taken++
			}
		}
		return taken
	}
	if got := take(20, 10); got != 10 {
		t.Errorf("at first: %d", got)
	}
	now = now.Add(250 * time.Millisecond)
	if got := take(20, 10); got != 2 {
		t.Errorf("after a quarter of a second: %d", got)
	}
	now = now.Add(time.Hour)
	if got := take(20, 10); got != 10 {
		t.Errorf("after an hour: %d", got)
	}
	b = bucket{}
	if got := take(5, 0.5); got != 1 {
		t.Errorf("one in two seconds: %d", got)
	}
}
