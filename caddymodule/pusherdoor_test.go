package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// front serves the only server of a configuration over loopback TCP, with its whole chain of
// handlers.
func (c configured) front(t *testing.T) *httptest.Server {
	t.Helper()
	if len(c.http.Servers) != 1 {
		t.Fatalf("%d servers, want 1", len(c.http.Servers))
	}
	for _, s := range c.http.Servers {
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		return server
	}
	return nil
}

// appClient is a client of the Pusher protocol.
type appClient struct {
	*websocket.Conn
	socket string // socket_id
}

// event is a frame of the protocol. Data is a string, but in errors an object.
type event struct {
	Event, Channel string
	Data           json.RawMessage
	UserID         string `json:"user_id"`
}

func (e event) text() string {
	var s string
	if json.Unmarshal(e.Data, &s) != nil {
		return string(e.Data)
	}
	return s
}

// dialApp opens a websocket for the path and key at a host.
func dialApp(t *testing.T, server *httptest.Server, host, path string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+path+"?protocol=7&client=js&version=8.6.0",
		http.Header{"Host": {host}})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		conn.SetReadDeadline(time.Now().Add(testkit.Patience))
	}
	return conn, response, err
}

func openApp(t *testing.T, server *httptest.Server, host, path string) appClient {
	t.Helper()
	conn, _, err := dialApp(t, server, host, path)
	if err != nil {
		t.Fatal(err)
	}
	c := appClient{Conn: conn}
	first := c.read(t)
	var data struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(first.text()), &data); err != nil || first.Event != "pusher:connection_established" {
		t.Fatalf("the first frame is %+v", first)
	}
	c.socket = data.SocketID
	return c
}

func (c appClient) read(t *testing.T) (e event) {
	t.Helper()
	if err := c.ReadJSON(&e); err != nil {
		t.Fatal(err)
	}
	return e
}

// subscribe subscribes with the signature of the key, and returns the answer.
func (c appClient) subscribe(t *testing.T, channel, data string, key *app.Key) event {
	t.Helper()
	frame := map[string]string{"channel": channel}
	if data != "" {
		frame["channel_data"] = data
	}
	if key != nil {
		signed := c.socket + ":" + channel
		if data != "" {
			signed += ":" + data
		}
		frame["auth"] = key.Key + ":" + key.Sign([]byte(signed))
	}
	if err := c.WriteJSON(map[string]any{"event": "pusher:subscribe", "data": frame}); err != nil {
		t.Fatal(err)
	}
	return c.read(t)
}

var testKey = &app.Key{Key: "key-a", Secret: []byte(testSecret)}

// Clients get to an app of their site, at the root and below the option path. Everything else goes
// on.
func TestSocketsOfApps(t *testing.T) {
	server := mustLoad(t, "{\nauto_https off\n}\nhttp://a.example.com {\nrollcall {\npusher {\n"+testApp+"\napp 102 key-b "+testSecret+"\npath /pusher\n}\n}\n"+
		"respond \"page\" 203\n}\nhttp://b.example.com {\nrollcall {\npusher {\napp 103 key-c "+testSecret+"\n}\n}\n}\n"+
		"http://native.example.com {\nrollcall\nrespond \"page\" 203\n}").front(t)
	for _, path := range []string{"/app/key-a", "/app/key-b", "/pusher/app/key-a"} {
		c := openApp(t, server, "a.example.com", path)
		if got := c.subscribe(t, "private-x", "", nil); got.Event != "pusher:subscription_error" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	// An unknown key is refused where a page can see it, like the key of another site.
	for _, path := range []string{"/app/key-c", "/app/nothing", "/pusher/app/KEY-A"} {
		conn, _, err := dialApp(t, server, "a.example.com", path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if code, _ := closedWith(t, conn); code != 4001 {
			t.Errorf("%s: closed with %d", path, code)
		}
	}
	for _, other := range []struct{ host, path string }{
		{"a.example.com", "/app/"},
		{"a.example.com", "/app/key-a/x"},
		{"a.example.com", "/other/app/key-a"},
		{"a.example.com", "/apps/101"},
		{"a.example.com", "/pusher/message/socket"},
		{"native.example.com", "/app/key-a"},
	} {
		if _, response, err := dialApp(t, server, other.host, other.path); err == nil || response.StatusCode != 203 {
			t.Errorf("%s%s: answered %v", other.host, other.path, response)
		}
	}
	for _, path := range []string{"/app/key-a", "/app/dashboard", "/apps/101", "/apps/101/about", "/pusher"} { // pages
		r, err := http.NewRequest(http.MethodGet, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "a.example.com"
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 203 {
			t.Errorf("%s: status %d", path, response.StatusCode)
		}
	}
}

// A pinned app has its users on one host, whichever the client asks.
func TestPinnedAppsHaveOneHost(t *testing.T) {
	c := mustLoad(t, "{\nauto_https off\n}\nhttp://a.example.com, http://b.example.com {\nrollcall {\npusher {\n"+testApp+" tenant.example.com\napp 102 key-b "+otherSecret+"\n}\n}\n}")
	server := c.front(t)
	data := `{"user_id":"ada"}`
	openApp(t, server, "a.example.com", "/app/key-a").subscribe(t, "presence-room", data, testKey)
	openApp(t, server, "b.example.com", "/app/key-a").subscribe(t, "presence-room", data, testKey)
	openApp(t, server, "b.example.com", "/app/key-b").subscribe(t, "presence-room", data, &app.Key{Key: "key-b", Secret: []byte(otherSecret)})
	for host, want := range map[string]int{"tenant.example.com": 2, "b.example.com": 1} {
		if got := c.app.hub.Registry.Host(testkit.MustHost(t, host)).Stats().Conns; got != want {
			t.Errorf("%s has %d connections, want %d", host, got, want)
		}
	}
}

// A login alone opens no channel that needs a signature, and apps open none of the existing ones.
func TestAppsOpenNoChannels(t *testing.T) {
	const options = "api_key k\nchannels {\ngranted team-*\nauthenticated news-*\nanonymous lobby-*\n}\n"
	type join struct{ user, channel string }
	outcomes := func(t *testing.T, options string) map[join]string {
		server := listen(t, loadHandler(t, options))
		got := make(map[join]string)
		for _, channel := range []string{
			"private-x", "presence-x", "#server-to-user-ada", "team-1", "news-1", "lobby-1", "anonymous1", "other", "cache-x", "private", "presence",
		} {
			for _, user := range []string{"", "ada"} {
				conn := mustDial(t, server, "portal.example.com", "Test-User", user)
				welcome(t, conn)
				if err := conn.WriteJSON(map[string]string{"type": "join", "channel": channel}); err != nil {
					t.Fatal(err)
				}
				var answer struct{ Type, Code string }
				if err := conn.ReadJSON(&answer); err != nil {
					t.Fatal(err)
				}
				got[join{user, channel}] = answer.Type + " " + answer.Code
			}
		}
		return got
	}
	var before map[join]string
	t.Run("without", func(t *testing.T) { before = outcomes(t, options) })
	t.Run("with", func(t *testing.T) {
		for j, is := range outcomes(t, options+"pusher {\n"+testApp+"\nclient_events\n}\n") {
			want := before[j]
			switch {
			case strings.HasPrefix(j.channel, "#"):
				want = "error reserved_channel"
			case strings.Contains(j.channel, "-x") && !strings.HasPrefix(j.channel, "cache-") && j.user == "":
				want = "error login_required"
			case strings.Contains(j.channel, "-x") && !strings.HasPrefix(j.channel, "cache-"):
				want = "error denied"
			}
			if is != want {
				t.Errorf("%q joins %s: %q, want %q; without apps %q", j.user, j.channel, is, want, before[j])
			}
		}
	})
}
