package integration

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// login is the header that logs a user in.
func login(t *testing.T, id, email string) []string {
	t.Helper()
	return []string{"Authorization", "Bearer " + token(t, id, email, 0)}
}

func TestWelcome(t *testing.T) {
	load(t, portal(jwtOptions+"ping 20s 30s"))
	visitor := portalHost.Dial(t)
	if got := visitor.Welcome; got.User != nil || got.Ping != 20 ||
		!regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(got.Connection) || got.Channel != "tab|"+got.Connection {
		t.Errorf("welcome of a visitor: %+v", got)
	}
	user := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	if got := user.Welcome.User; got == nil || *got != (ws.User{ID: "USER_1", Email: "a@example.com"}) {
		t.Errorf("welcome of a user: %+v", got)
	}
	if visitor.Welcome.Connection == user.Welcome.Connection {
		t.Error("two connections have one id")
	}
}

func TestSubprotocol(t *testing.T) {
	load(t, portal(""))
	for name, tt := range map[string]struct {
		offered []string
		want    string
	}{
		"offered":           {[]string{"rollcall.v1"}, "rollcall.v1"},
		"one of several":    {[]string{"chat.v7", "rollcall.v1"}, "rollcall.v1"},
		"none":              {[]string{}, ""},
		"only ones unknown": {[]string{"chat.v7"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := portalHost.Socket()
			r.Protocols = tt.offered
			if got := ws.Dial(t, r).Conn.Subprotocol(); got != tt.want {
				t.Errorf("subprotocol is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	load(t, portal(jwtOptions))
	long := strings.Repeat("n", 255)
	good := token(t, "USER_9", "i@example.com", 0)
	const invalidToken, expired = "x.y.z", -time.Minute

	// Each row uses a new anonymous connection.
	tests := map[string]struct {
		send, want string // want is the frame, or the code of an error
		id         string // of the error
	}{
		"join":                         {`{"type":"join","channel":"anonymousA"}`, `{"type":"joined","channel":"anonymousA","kind":"anonymous"}`, ""},
		"join with presence none":      {`{"type":"join","channel":"anonymousA","presence":"none"}`, `{"type":"joined","channel":"anonymousA","kind":"anonymous"}`, ""},
		"join with presence count":     {`{"type":"join","channel":"anonymousA","presence":"count"}`, `{"type":"joined","channel":"anonymousA","kind":"anonymous","seq":0,"count":1}`, ""},
		"list of an anonymous channel": {`{"type":"join","channel":"anonymousA","presence":"list"}`, `{"type":"joined","channel":"anonymousA","kind":"anonymous","seq":0,"count":1}`, ""},
		"id a string":                  {`{"type":"ping","id":"a\u0000b\"é"}`, `{"type":"pong","id":"a\u0000b\"é"}`, ""},
		"id a number":                  {`{"type":"ping","id":-1.5e3}`, `{"type":"pong","id":-1.5e3}`, ""},
		"no id":                        {`{"type":"ping"}`, `{"type":"pong"}`, ""},
		"unknown key":                  {`{"type":"ping","colour":[1,{}]}`, `{"type":"pong"}`, ""},
		"longest channel name": {
			`{"type":"join","channel":"anonymous` + long[9:] + `"}`,
			`{"type":"joined","channel":"anonymous` + long[9:] + `","kind":"anonymous"}`, "",
		},
		"channel in another script": {`{"type":"join","channel":"anonymous \ud83d\ude00 \"ß\""}`, `{"type":"joined","channel":"anonymous 😀 \"ß\"","kind":"anonymous"}`, ""},
		"authenticate": {
			`{"type":"authenticate","id":1,"token":"` + good + `"}`,
			`{"type":"authenticated","id":1,"user":{"id":"USER_9","email":"i@example.com"}}`, "",
		},

		"not JSON":             {`{"type":`, "bad_frame", ""},
		"an array":             {`["join"]`, "bad_frame", ""},
		"null":                 {`null`, "bad_frame", ""},
		"empty":                {``, "bad_frame", ""},
		"deep nesting":         {strings.Repeat("[", 20000), "bad_frame", ""},
		"type missing":         {`{"id":1}`, "bad_frame", "1"},
		"type a number":        {`{"type":1,"id":"x"}`, "bad_frame", `"x"`},
		"id an object":         {`{"type":"ping","id":{}}`, "bad_frame", ""},
		"id too long":          {`{"type":"ping","id":"` + long + `"}`, "bad_frame", ""},
		"presence unknown":     {`{"type":"join","channel":"anonymousA","presence":"all","id":3}`, "bad_frame", "3"},
		"token a number":       {`{"type":"authenticate","token":5,"id":3}`, "bad_frame", "3"},
		"unknown type":         {`{"type":"subscribe","id":"x"}`, "unknown_type", `"x"`},
		"type in other case":   {`{"type":"JOIN","channel":"anonymousA"}`, "unknown_type", ""},
		"channel missing":      {`{"type":"join","id":2}`, "bad_channel", "2"},
		"channel a number":     {`{"type":"join","channel":7,"id":2}`, "bad_channel", "2"},
		"channel empty":        {`{"type":"join","channel":"","id":2}`, "bad_channel", "2"},
		"channel too long":     {`{"type":"join","channel":"a` + long + `","id":2}`, "bad_channel", "2"},
		"channel with control": {`{"type":"join","channel":"anonymous\u0007","id":2}`, "bad_channel", "2"},
		"a private channel":    {`{"type":"join","channel":"tab|AAAAAAAAAAAAAAAAAAAAAA","id":2}`, "reserved_channel", "2"},
		"a channel that needs login": {
			`{"type":"join","channel":"salesRoom","id":2}`, "login_required", "2",
		},
		"leave what was not joined": {`{"type":"leave","channel":"anonymousA","id":2}`, "not_joined", "2"},
		"leave a private channel":   {`{"type":"leave","channel":"tab|AAAAAAAAAAAAAAAAAAAAAA","id":2}`, "reserved_channel", "2"},
		"token invalid":             {`{"type":"authenticate","token":"` + invalidToken + `","id":2}`, "bad_token", "2"},
		"token expired": {
			`{"type":"authenticate","token":"` + token(t, "USER_1", "", expired) + `","id":2}`, "bad_token", "2",
		},
		"token empty": {`{"type":"authenticate","token":"","id":2}`, "bad_token", "2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := portalHost.Dial(t)
			c.Send(t, tt.send)
			if strings.HasPrefix(tt.want, "{") {
				c.Expect(t, tt.want)
			} else {
				c.ExpectError(t, tt.id, tt.want)
			}
			c.ExpectNothing(t) // and the connection is open
		})
	}
}

func TestAuthenticateWhereThereAreNoTokens(t *testing.T) {
	load(t, portal(""))
	c := portalHost.Dial(t)
	c.Send(t, `{"type":"authenticate","token":"`+token(t, "USER_1", "", 0)+`","id":1}`)
	c.ExpectError(t, "1", "bad_token")
}

func TestFramesThatBreakTheRules(t *testing.T) {
	load(t, portal("limits {\n frame 1KiB\n }"))
	witness := portalHost.Dial(t)

	t.Run("binary", func(t *testing.T) {
		c := portalHost.Dial(t)
		c.SendRaw(t, websocket.BinaryMessage, []byte(`{"type":"ping"}`))
		c.ExpectError(t, "", "bad_frame")
		c.ExpectNothing(t)
	})
	t.Run("text that is not UTF-8", func(t *testing.T) {
		for _, text := range []string{"\xc3\x28\xff", "{\"type\":\"ping\",\"id\":\"\xff\"}"} {
			c := portalHost.Dial(t)
			c.SendRaw(t, websocket.TextMessage, []byte(text))
			ws.ExpectClose(t, c.Conn, websocket.CloseInvalidFramePayloadData)
		}
	})
	t.Run("as large as allowed", func(t *testing.T) {
		c := portalHost.Dial(t)
		c.Ask(t, fmt.Sprintf("%-1024s", `{"type":"ping"}`), `{"type":"pong"}`)
	})
	t.Run("too large", func(t *testing.T) {
		c := portalHost.Dial(t)
		c.Send(t, fmt.Sprintf("%-1025s", `{"type":"ping"}`))
		ws.ExpectClose(t, c.Conn, websocket.CloseMessageTooBig)
	})
	t.Run("too large in pieces", func(t *testing.T) {
		c := portalHost.Dial(t)
		w, err := c.Conn.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := fmt.Fprintf(w, "%500s", ""); err != nil {
				break // the server has closed
			}
		}
		ws.ExpectClose(t, c.Conn, websocket.CloseMessageTooBig)
	})
	t.Run("not masked", func(t *testing.T) {
		c := portalHost.Dial(t)
		if _, err := c.Conn.NetConn().Write([]byte("\x81\x02{}")); err != nil {
			t.Fatal(err)
		}
		ws.ExpectClose(t, c.Conn, websocket.CloseProtocolError)
	})
	t.Run("reserved bits", func(t *testing.T) {
		c := portalHost.Dial(t)
		if _, err := c.Conn.NetConn().Write([]byte("\xf1\x82\x00\x00\x00\x00{}")); err != nil {
			t.Fatal(err)
		}
		ws.ExpectClose(t, c.Conn, websocket.CloseProtocolError)
	})
	witness.ExpectNothing(t)
}

func TestTooManyChannels(t *testing.T) {
	load(t, portal("limits {\n channels_per_connection 20\n frames_per_second 100000\n }"))
	c := portalHost.Dial(t)
	const names = 10_000
	sent := make(chan error, 1)
	go func() {
		for i := range names {
			frame := fmt.Sprintf(`{"type":"join","channel":"anonymous-%d","id":%d}`, i, i)
			if err := c.Conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range names {
		if i < 20 {
			c.Expect(t, fmt.Sprintf(`{"type":"joined","id":%d,"channel":"anonymous-%d","kind":"anonymous"}`, i, i))
			continue
		}
		c.ExpectError(t, fmt.Sprint(i), "too_many_channels")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`%q:1`, c.Welcome.Channel)
	for i := range 20 {
		want += fmt.Sprintf(`,"anonymous-%d":1`, i)
	}
	portalHost.Expect(t, "users", `{}`, `{`+want+`}`)

	c.Ask(t, `{"type":"join","channel":"anonymous-7"}`, `{"type":"joined","channel":"anonymous-7","kind":"anonymous"}`)
	c.Ask(t, `{"type":"leave","channel":"anonymous-7"}`, `{"type":"left","channel":"anonymous-7"}`)
	c.Ask(t, `{"type":"join","channel":"anonymous-x"}`, `{"type":"joined","channel":"anonymous-x","kind":"anonymous"}`)
}

func TestTooManyConnections(t *testing.T) {
	load(t, portal("limits {\n connections_per_host 2\n }")+
		"http://other.example.com:9080 {\n rollcall\n}\n")
	first, second := portalHost.Dial(t), portalHost.Dial(t)
	conn, _ := ws.Open(t, portalHost.Socket())
	if conn == nil {
		t.Fatal("the handshake was answered with an HTTP error, which a browser cannot see")
	}
	ws.ExpectClose(t, conn, 4008)
	other := portalHost
	other.Host = "other.example.com"
	other.Dial(t)
	first.ExpectNothing(t)

	second.Close(t)
	portalHost.Await(t, "users", `{}`, fmt.Sprintf(`{%q:1}`, first.Welcome.Channel))
	portalHost.Dial(t)
}

// closeCode reads until the connection ends and counts the errors of a code on the way.
func closeCode(t *testing.T, c *ws.Client, code string) (seen, end int) {
	t.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(ws.Patience))
	for {
		_, p, err := c.Conn.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			if !errors.As(err, &closed) {
				t.Fatal(err)
			}
			return seen, closed.Code
		}
		if strings.Contains(string(p), `"code":"`+code+`"`) {
			seen++
		}
	}
}

func TestFloodsAreStopped(t *testing.T) {
	load(t, portal("limits {\n channels_per_connection 5\n frames_per_second 5\n }"))
	witness := portalHost.Dial(t)
	floods := map[string]func(c *ws.Client) error{
		"text frames": func(c *ws.Client) error {
			return c.Conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","id":7}`))
		},
		"bad frames": func(c *ws.Client) error { return c.Conn.WriteMessage(websocket.TextMessage, []byte(`x`)) },
		"pings": func(c *ws.Client) error {
			return c.Conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(ws.Patience))
		},
		"pongs": func(c *ws.Client) error {
			return c.Conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(ws.Patience))
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			c := portalHost.Dial(t)
			go func() {
				for send(c) == nil { // ends when the server has closed, or with the test
				}
			}()
			limited, end := closeCode(t, c, "rate_limited")
			if end != 4108 {
				t.Errorf("close code %d, want 4108", end)
			}
			if name == "text frames" && limited == 0 {
				t.Error("no rate_limited came before the end")
			}
		})
	}
	witness.ExpectNothing(t)
}

func TestRateLimitedFramesKeepTheConnection(t *testing.T) {
	load(t, portal("limits {\n channels_per_connection 5\n frames_per_second 5\n }"))
	c := portalHost.Dial(t)
	const burst = 10
	for i := range burst {
		c.Ask(t, fmt.Sprintf(`{"type":"ping","id":%d}`, i), fmt.Sprintf(`{"type":"pong","id":%d}`, i))
	}
	limited := 0
	for range burst / 2 {
		c.Send(t, `{"type":"ping","id":"more"}`)
		if c.Next(t) != `{"type":"pong","id":"more"}` {
			limited++
		}
	}
	if limited == 0 {
		t.Error("frames over the rate were answered all the same")
	}
	// Below the limit, the client is served again. Each attempt counts as a frame, so it must not
	// poll faster.
	slowly := time.NewTicker(300 * time.Millisecond)
	defer slowly.Stop()
	ws.Poll(t, ws.Patience, func() error {
		<-slowly.C
		c.Send(t, `{"type":"ping","id":"later"}`)
		if got := c.Next(t); got != `{"type":"pong","id":"later"}` {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
}
