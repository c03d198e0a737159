package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// peer is a client of a site with the plugin gate.
type peer struct {
	*websocket.Conn
	t *testing.T
}

// gated serves a site with the plugin gate, a user header, tokens and channels that need grants.
func gated(t *testing.T, options string, files ...string) (configured, *httptest.Server) {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	file := assemble(t, "gate")
	if len(files) > 0 {
		file = files[0]
	}
	c := mustLoad(t, gatedSite(file, options))
	c.app.hub.Offer(c.snapshot())
	return c, listen(t, c.handler(t))
}

func gatedSite(file, options string) string {
	return "http://portal.example.com, http://refuses.example.com {\n\trollcall {\n\t\tapi_key k\n\t\tjwt {\n\t\t\tkey " + tokenSecret +
		"\n\t\t}\n\t\tchannels {\n\t\t\tgranted team-*\n\t\t\town user-{id}\n\t\t}\n" + plugin(file, "message_timeout 30s\n"+options) + "\n\t}\n}\n"
}

// enter opens a connection of a user, or an anonymous one, and reads the welcome.
func enter(t *testing.T, server *httptest.Server, user string) peer {
	t.Helper()
	var header []string
	if user != "" {
		header = []string{"Test-User", user}
	}
	p := peer{mustDial(t, server, "portal.example.com", header...), t}
	p.wants(`"type":"welcome"`)
	return p
}

// tell sends a frame, in which ' stands for ".
func (p peer) tell(frame string, args ...any) {
	p.t.Helper()
	if err := p.WriteMessage(websocket.TextMessage, []byte(strings.ReplaceAll(fmt.Sprintf(frame, args...), "'", `"`))); err != nil {
		p.t.Fatal(err)
	}
}

// wants reads a frame, which has the texts.
func (p peer) wants(texts ...string) string {
	p.t.Helper()
	_, frame, err := p.ReadMessage()
	if err != nil {
		p.t.Fatalf("instead of a frame with %q: %v", texts, err)
	}
	for _, text := range texts {
		if !strings.Contains(string(frame), strings.ReplaceAll(text, "'", `"`)) {
			p.t.Fatalf("the frame %s has no %s", frame, text)
		}
	}
	return string(frame)
}

// quiet checks that nothing has arrived: the next frame is the answer to a ping.
func (p peer) quiet() {
	p.t.Helper()
	p.tell(`{'type':'ping'}`)
	p.wants(`{'type':'pong'}`)
}

func TestPluginDecidesAboutConnections(t *testing.T) {
	for _, test := range []struct {
		name, host, user, policy string
		code                     int // 0: the connection is served
		welcome                  string
	}{
		{name: "no change", user: "ada", welcome: `"user":{"id":"ada","email":""},`},
		{name: "anonymous", welcome: `"user":null`},
		{name: "refused", user: "refused", code: socket.CloseRefused},
		{name: "refused under any policy", user: "refused", policy: "pass", code: socket.CloseRefused},
		{name: "anonymous, refused", host: "refuses.example.com", code: socket.CloseRefused},
		{name: "another info", user: "info", welcome: `"user":{"id":"info","email":"","info":{"badge":"staff"}}`},
		{name: "a trap", user: "trap", code: socket.CloseUnavailable},
		{name: "a trap that passes", user: "trap", policy: "pass", welcome: `"user":{"id":"trap","email":""},`},
		{name: "no end", user: "wait", code: socket.CloseUnavailable},
		{name: "rubbish", user: "zero", code: socket.CloseUnavailable},
		{name: "grants without the option", user: "grant", code: socket.CloseUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := ""
			if test.policy != "" {
				options = "on_failure " + test.policy
			}
			c, server := gated(t, options)
			host := "portal.example.com"
			if test.host != "" {
				host = test.host
			}
			var header []string
			if test.user != "" {
				header = []string{"Test-User", test.user}
			}
			conn := mustDial(t, server, host, header...)
			if test.code == 0 {
				peer{conn, t}.wants(test.welcome)
				return
			}
			code, reason := closedWith(t, conn)
			want := map[int]string{socket.CloseRefused: "refused by a plugin", socket.CloseUnavailable: "try again later"}[test.code]
			if code != test.code || reason != want {
				t.Errorf("closed with %d %q, want %d %q", code, reason, test.code, want)
			}
			if hosts := c.app.hub.Registry.Hosts(); len(hosts) != 0 {
				t.Errorf("a refused connection is on %v", hosts)
			}
			metric := map[int]string{socket.CloseRefused: "plugin_denied", socket.CloseUnavailable: "plugin_failed"}[test.code]
			if got := scrape(t, c.ctx.GetMetricsRegistry()); !strings.Contains(got, "upgrades_rejected_total{reason="+metric+"} 1") {
				t.Errorf("no refusal with the reason %s in\n%s", metric, got)
			}
		})
	}
}

// The plugin is not asked about a connection that is refused anyway.
func TestPluginIsAskedAfterTheOtherChecks(t *testing.T) {
	c, server := gated(t, "", assemble(t, "gate"))
	c.handler(t).rollcall.Site.Bounds.MaxConns = 1
	c.handler(t).rollcall.Site.MakeRules()
	enter(t, server, "ada")
	if code, _ := closedWith(t, mustDial(t, server, "portal.example.com", "Test-User", "refused")); code != socket.CloseLimit {
		t.Errorf("a full host: closed with %d", code)
	}
	code, _ := closedWith(t, mustDial(t, server, "portal.example.com", "Test-User", "refused", "Origin", "https://evil.example"))
	if code != socket.CloseOrigin {
		t.Errorf("another origin: closed with %d", code)
	}
}

func login(t *testing.T, claims jwt.MapClaims) string {
	return fmt.Sprintf(`{"type":"authenticate","id":1,"token":%q}`, signedToken(t, claims))
}

func TestPluginDecidesAboutLogins(t *testing.T) {
	c, server := gated(t, "grants")
	p := enter(t, server, "")
	p.tell("%s", login(t, jwt.MapClaims{"sub": "ada", "email": "a@x"}))
	p.wants(`{"type":"authenticated","id":1,"user":{"id":"ada","email":"a@x"}}`)
	p.tell(`{'type':'join','channel':'room'}`)
	p.wants(`"joined"`)
	for _, test := range []struct{ user, want string }{
		{"refused", `{"type":"error","id":1,"code":"denied","message":"a plugin of this site refuses the login"}`},
		{"trap", `{"type":"error","id":1,"code":"unavailable","message":"try again later"}`},
		{"zero", `"code":"unavailable"`},
	} {
		p.tell("%s", login(t, jwt.MapClaims{"sub": test.user}))
		p.wants(test.want)
		if got := post(t, c.handler(t), "/message/users", `{"apiKey":"k","channel":"room"}`).Body.String(); got != `{"room":[{"id":"ada","email":"a@x"}]}` {
			t.Errorf("after the login as %s, room is %s", test.user, got)
		}
	}
	p.tell("%s", login(t, jwt.MapClaims{"sub": "c1", "n": json.Number("12345678901234567890"), "x": "<&>", "info": map[string]any{"from": "token"}}))
	p.wants(`"info":{"claims":{"info":{"from":"token"},"n":12345678901234567890,"sub":"c1","x":"<&>"}}`)
	p.tell("%s", login(t, jwt.MapClaims{"sub": "nothing", "info": map[string]any{"from": "token"}}))
	p.wants(`"user":{"id":"nothing","email":""}}`)
	p.quiet()
}

func TestPluginGrantsChannels(t *testing.T) {
	c, server := gated(t, "grants")
	p := enter(t, server, "")
	join := func(channel, presence, want string) {
		t.Helper()
		p.tell(`{'type':'join','channel':'%s','presence':'%s'}`, channel, presence)
		p.wants(want)
	}
	p.tell("%s", login(t, jwt.MapClaims{"sub": "ada"}))
	p.wants(`"authenticated"`)
	join("team-1", "none", `"code":"denied"`)
	p.tell("%s", login(t, jwt.MapClaims{"sub": "grant", "channels": []string{"team-token"}}))
	p.wants(`"authenticated"`)
	join("team-1", "none", `"may":["send","see"]`)
	join("user-ada", "none", `"code":"denied"`) // nobody else's own channel
	p.tell("%s", login(t, jwt.MapClaims{"sub": "both", "channels": []string{"team-token"}}))
	p.wants(`{"type":"authenticated","id":1,"user":{"id":"both","email":"","info":{"badge":"x"}}}`)
	p.tell(`{'type':'send','channels':['team-1'],'message':{'x':'hello'}}`)
	p.wants("the permission send is missing")
	join("team-2", "none", `"code":"denied"`)
	join("team-token", "none", `"joined"`)

	// A reload that takes the right to grant away ends these grants, and no others, without asking
	// again.
	reload := mustLoad(t, strings.Replace(gatedSite(c.handler(t).Plugins[0].Path, "grants"), "grants", "", 1))
	before := c.app.hub.InEffect()
	reload.app.hub.Offer(reload.snapshot())
	reload.app.hub.TakeBack(before)
	p.wants(`{"type":"left","channel":"team-1","reason":"denied"}`)
	p.quiet()
}
