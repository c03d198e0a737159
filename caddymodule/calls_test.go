package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// wantAnswer posts to an endpoint, with the key, and compares the whole answer.
func wantAnswer(t *testing.T, h *Handler, endpoint, body, want string) {
	t.Helper()
	w := post(t, h, "/message/"+endpoint, `{"apiKey":"k",`+body+`}`)
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%s %s: status %d with %s, want %s", endpoint, body, w.Code, w.Body, want)
	}
	checkTruth(t, w, "true", "")
}

func TestOnline(t *testing.T) {
	h := loadHandler(t, "api_key k")
	arrive(t, h, "portal.example.com", "ada", "a@example.com")
	arrive(t, h, "portal.example.com", "ada", "", "room")
	arrive(t, h, "portal.example.com", "ü\"", "")
	arrive(t, h, "other.example.com", "bob", "")
	arrive(t, h, "portal.example.com", "", "")
	wantAnswer(t, h, "online", `"users":["bob","ada","ü\"","ada"]`,
		`{"bob":{"online":false},"ada":{"online":true,"connections":2,"dataCenters":["local"]},"ü\"":{"online":true,"connections":1,"dataCenters":["local"]}}`)
	wantAnswer(t, h, "online", `"host":"other.example.com","users":["bob"]`, `{"bob":{"online":true,"connections":1,"dataCenters":["local"]}}`)
	wantAnswer(t, h, "online", `"users":["bob","canary"],"pad":"`+strings.Repeat("x", 70<<10)+`","requireComplete":true`, `{"bob":{"online":false},"canary":{"online":false}}`)
}

// callProblems are refused by each call with users.
func TestCallProblems(t *testing.T) {
	h := loadHandler(t, "api_key k\nlimits {\nchannel_name 10\n}")
	arrive(t, h, "portal.example.com", "ada", "", "room")
	many := func(n int, text string) string { return `["` + text + strings.Repeat(`","`+text, n-1) + `"]` }
	const id = "AAAAAAAAAAAAAAAAAAAAAQ"
	for _, test := range []struct {
		endpoint, name, body string // body without the key
		status               int
		code                 string
	}{
		{"online", "nobody", ``, 400, "bad_value"},
		{"online", "no users", `"users":[]`, 400, "bad_value"},
		{"online", "null users", `"users":null`, 400, "bad_value"},
		{"online", "too many users", `"users":` + many(1001, "u"), 400, "bad_value"},
		{"online", "a user without an ID", `"users":["ada",""]`, 400, "bad_value"},
		{"online", "a word for requireComplete", `"users":["ada"],"requireComplete":"no"`, 400, "bad_value"},
		{"online", "too much", `"users":` + many(1000, strings.Repeat("u", 1050)), 413, "too_large"},
		{"online", "a large body without users", `"pad":"` + strings.Repeat("x", 64<<10) + `"`, 413, "too_large"},
		{"disconnect", "nobody", `"reason":"x"`, 400, "bad_value"},
		{"disconnect", "users and connections", `"users":["ada"],"connections":["` + id + `"]`, 400, "bad_value"},
		{"disconnect", "users and a channel", `"users":["ada"],"channel":"room"`, 400, "bad_value"},
		{"disconnect", "null users", `"users":null`, 400, "bad_value"},
		{"disconnect", "no connections", `"connections":[]`, 400, "bad_value"},
		{"disconnect", "null connections", `"connections":null`, 400, "bad_value"},
		{"disconnect", "too many connections", `"connections":` + many(1001, id), 400, "bad_value"},
		{"disconnect", "a private channel as connection", `"connections":["tab|` + id + `"]`, 400, "bad_value"},
		{"disconnect", "a short ID", `"connections":["` + id + `","` + id[1:] + `"]`, 400, "bad_value"},
		{"disconnect", "the ID of nobody", `"connections":["AAAAAAAAAAAAAAAAAAAAAA"]`, 400, "bad_value"},
		{"disconnect", "a number as channel", `"channel":7`, 400, "bad_value"},
		{"disconnect", "a channel without a name", `"channel":""`, 400, "bad_value"},
		{"disconnect", "a channel too long", `"channel":"01234567890"`, 400, "bad_value"},
		{"disconnect", "a channel with half a surrogate pair", `"channel":"a\ud800"`, 400, "bad_channel"},
		{"disconnect", "a word for reconnect", `"users":["ada"],"reconnect":"yes"`, 400, "bad_value"},
		{"disconnect", "a number as reason", `"users":["ada"],"reason":1`, 400, "bad_value"},
		{"disconnect", "a reason too long", `"users":["ada"],"reason":"` + strings.Repeat("ü", 51) + `"`, 400, "bad_value"},
		{"disconnect", "a reason with half a surrogate pair", `"users":["ada"],"reason":"a\ud800"`, 400, "bad_value"},
		{"disconnect", "a reason with a control character", `"users":["ada"],"reason":"a\u0085"`, 400, "bad_value"},
		{"leave", "nobody", `"channels":["room"]`, 400, "bad_value"},
		{"leave", "both", `"users":["ada"],"connections":["` + id + `"],"channels":["room"]`, 400, "bad_value"},
		{"leave", "no channels", `"users":["ada"]`, 400, "bad_value"},
		{"leave", "empty channels", `"users":["ada"],"channels":[]`, 400, "bad_value"},
		{"leave", "null channels", `"users":["ada"],"channels":null`, 400, "bad_value"},
		{"leave", "too many channels", `"users":["ada"],"channels":` + many(129, "c"), 400, "bad_value"},
		{"leave", "a channel too long", `"users":["ada"],"channels":["room","01234567890"]`, 400, "bad_value"},
		{"leave", "a channel with half a surrogate pair", `"users":["ada"],"channels":["room","a\ud800"]`, 400, "bad_channel"},
		{"leave", "a private channel", `"users":["ada"],"channels":["room","tab|` + id + `"]`, 400, "bad_channel"},
		{"leave", "no private channel", `"users":["ada"],"channels":["room","tab|canary"]`, 400, "bad_channel"},
	} {
		t.Run(test.endpoint+" "+test.name, func(t *testing.T) {
			checkProblem(t, post(t, h, "/message/"+test.endpoint, `{"apiKey":"k",`+strings.TrimSuffix(test.body, ",")+
				map[bool]string{true: `"x":1`, false: ""}[test.body == ""]+`}`), test.status, test.code)
		})
	}
	for _, endpoint := range []string{"online", "disconnect", "leave"} {
		checkProblem(t, post(t, h, "/message/"+endpoint, `{"apiKey":"no","users":["ada"],"channels":["room"]}`), http.StatusUnauthorized, "bad_key")
		checkProblem(t, post(t, h, "/message/"+endpoint, `{"apiKey":"k","host":"x.example.com","users":["ada"],"channels":["room"]}`), http.StatusMisdirectedRequest, "misdirected")
		r := httptest.NewRequest(http.MethodPost, "http://portal.example.com/message/"+endpoint, strings.NewReader(`{"apiKey":"k","users":["ada"]}`))
		r.Header.Set("Early-Data", "1")
		checkProblem(t, serve(t, h, r), http.StatusTooEarly, "too_early")
	}
	// Nothing of that had an effect.
	wantAnswer(t, h, "users", `"channel":"room"`, `{"room":[{"id":"ada","email":""}]}`)
	startDraining(t, h)
	for _, endpoint := range []string{"online", "disconnect", "leave"} {
		checkProblem(t, post(t, h, "/message/"+endpoint, `{"apiKey":"k","users":["ada"],"channels":["room"]}`), http.StatusServiceUnavailable, "draining")
	}
}

// enterAll connects users by websockets, which join the room. It returns them with their IDs.
func enterAll(t *testing.T, h *Handler, users ...string) (conns []*websocket.Conn, ids []string) {
	t.Helper()
	server := listen(t, h)
	for _, user := range users {
		conn := mustDial(t, server, "portal.example.com", "Test-User", user)
		id, _ := welcome(t, conn)
		if got := asks(t, conn, `{"type":"join","channel":"room"}`); !strings.Contains(got, `"joined"`) {
			t.Fatal(got)
		}
		conns, ids = append(conns, conn), append(ids, id)
	}
	return conns, ids
}

func TestDisconnect(t *testing.T) {
	for _, test := range []struct {
		name, body string // %s is the ID of ada's second tab
		n          int
		closed     []bool // ada, ada, bob
		code       int
		reason     string
	}{
		{"users", `"users":["ada","nobody","ada"],"reason":"banned until noon"`, 2, []bool{true, true, false}, 4002, "banned until noon"},
		{"connections", `"connections":["%s","%[1]s","AAAAAAAAAAAAAAAAAAAAAQ"]`, 1, []bool{false, true, false}, 4002, "disconnected"},
		{"a channel", `"channel":"room","reconnect":true,"reason":"moved"`, 3, []bool{true, true, true}, 4200, "moved"},
		{"a private channel", `"channel":"tab|%s","reconnect":false`, 1, []bool{false, true, false}, 4002, "disconnected"},
		{"another channel", `"channel":"hall"`, 0, []bool{false, false, false}, 0, ""},
		{"users in a large body", `"users":["bob"],"pad":"` + strings.Repeat("x", 70<<10) + `"`, 1, []bool{false, false, true}, 4002, "disconnected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadHandler(t, "api_key k")
			conns, ids := enterAll(t, h, "ada", "ada", "bob")
			body := test.body
			if strings.Contains(body, "%") {
				body = fmt.Sprintf(body, ids[1])
			}
			wantAnswer(t, h, "disconnect", body, fmt.Sprintf(`{"disconnected":%d}`, test.n))
			for i, closed := range test.closed {
				if !closed {
					if got := asks(t, conns[i], `{"type":"ping"}`); got != `{"type":"pong"}` {
						t.Errorf("connection %d: %s", i, got)
					}
					continue
				}
				if code, reason := closedWith(t, conns[i]); code != test.code || reason != test.reason {
					t.Errorf("connection %d is closed with %d %q", i, code, reason)
				}
			}
		})
	}
}

func TestLeave(t *testing.T) {
	h := loadHandler(t, "api_key k")
	conns, ids := enterAll(t, h, "ada", "ada", "bob")
	asks(t, conns[0], `{"type":"join","channel":"hall"}`)
	wantAnswer(t, h, "leave", `"users":["ada","nobody"],"channels":["room","hall","room","empty"]`, `{"left":3}`)
	wants := func(i int, want ...string) {
		t.Helper()
		for _, frame := range want {
			if _, got, err := conns[i].ReadMessage(); err != nil || string(got) != frame {
				t.Errorf("connection %d: %s (%v), want %s", i, got, err, frame)
			}
		}
	}
	const leftRoom, leftHall = `{"type":"left","channel":"room","reason":"removed"}`, `{"type":"left","channel":"hall","reason":"removed"}`
	wants(0, leftRoom, leftHall)
	wants(1, leftRoom)
	wantAnswer(t, h, "users", `"channel":"room"`, `{"room":[{"id":"bob","email":""}]}`)
	if got := asks(t, conns[1], `{"type":"join","channel":"room"}`); !strings.Contains(got, `"joined"`) { // it is no ban
		t.Error(got)
	}
	wantAnswer(t, h, "leave", `"connections":["`+ids[1]+`","`+ids[2]+`"],"channels":["room"]`, `{"left":2}`)
	wants(1, leftRoom)
	wants(2, leftRoom)
	wantAnswer(t, h, "leave", `"connections":["`+ids[1]+`"],"channels":["room"]`, `{"left":0}`)
	for i, conn := range conns {
		if got := asks(t, conn, `{"type":"ping"}`); got != `{"type":"pong"}` {
			t.Errorf("connection %d: %s", i, got)
		}
	}
}

// An assigned user is joined again as after a leave of its own: by its next connection, or by a
// repeated assignment.
func TestLeaveOfAnAssignedUser(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := loadHandler(t, "api_key k")
	server := listen(t, h)
	assigned := `[{"id":"ada","channels":[{"name":"board"}]}]`
	wantCreated(t, h, "adduser", assigned, "ada")
	read := func(conn *websocket.Conn, want string) {
		t.Helper()
		if _, got, err := conn.ReadMessage(); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s (%v), want %s", got, err, want)
		}
	}
	first := mustDial(t, server, "portal.example.com", "Test-User", "ada")
	welcome(t, first)
	read(first, `{"type":"joined","channel":"board"`)
	wantAnswer(t, h, "leave", `"users":["ada"],"channels":["board"]`, `{"left":1}`)
	read(first, `{"type":"left","channel":"board","reason":"removed"}`)
	if got := asks(t, first, `{"type":"ping"}`); got != `{"type":"pong"}` {
		t.Errorf("right after it: %s", got)
	}
	second := mustDial(t, server, "portal.example.com", "Test-User", "ada")
	welcome(t, second)
	read(second, `{"type":"joined","channel":"board"`)
	wantCreated(t, h, "adduser", assigned, "ada")
	read(first, `{"type":"joined","channel":"board"`)
}

// Leave and disconnect forget what authorize has answered about those whom they are about.
func TestCallsForgetGrants(t *testing.T) {
	for _, test := range []struct {
		name, endpoint, body string // %s is the ID of the connection
	}{
		{"leave by user", "leave", `"users":["ada"],"channels":["elsewhere"]`},
		{"leave by connection", "leave", `"connections":["%s"],"channels":["elsewhere"]`},
		{"disconnect by user", "disconnect", `"users":["ada"]`},
		{"disconnect by connection", "disconnect", `"connections":["%s"]`},
		{"disconnect by channel", "disconnect", `"channel":"empty"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var answer atomic.Value
			answer.Store(`{"allow":true}`)
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer.Load().(string)) }))
			t.Cleanup(backend.Close)
			h := loadAsking(t, backend.URL, "")
			server := listen(t, h)
			ada := mustDial(t, server, "portal.example.com", "Test-User", "ada")
			id, _ := welcome(t, ada)
			if got := asks(t, ada, `{"type":"join","channel":"team-a"}`); !strings.Contains(got, `"joined"`) {
				t.Fatal(got)
			}
			answer.Store(`{"allow":false}`)
			body := test.body
			if strings.Contains(body, "%") {
				body = fmt.Sprintf(body, id)
			}
			if w := post(t, h, "/message/"+test.endpoint, `{"apiKey":"k",`+body+`}`); w.Code != http.StatusOK {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			again := mustDial(t, server, "portal.example.com", "Test-User", "ada")
			welcome(t, again)
			if got := asks(t, again, `{"type":"join","channel":"team-a"}`); !strings.Contains(got, `"code":"denied"`) {
				t.Errorf("a kept answer lets her in: %s", got)
			}
		})
	}
}

func TestCallsAskTheCluster(t *testing.T) {
	d := &clusterLog{}
	c := mustLoad(t, clustered(overNATS))
	stand := &fakeCluster{name: "it", clusterLog: d, ready: true, truth: cluster.Truth{Missing: []string{"us-east-1/web-2"}}}
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	c.app.hub.Offer(c.snapshot())
	h := c.handler(t)
	for _, test := range []struct{ endpoint, body, asked, want string }{
		{
			"online", `"users":["bob","ada"]`, `online portal.example.com ["bob" "ada"]`,
			`{"bob":{"online":false},"ada":{"online":true,"connections":3,"dataCenters":["eu-west-1","us-east-1"]}}`,
		},
		{
			"disconnect", `"users":["ada"],"reconnect":true,"reason":"x"`,
			`disconnect portal.example.com "" {Users:[ada] Conns:[] Channels:[] Reconnect:true SignedIn:false Members:false Reason:x}`, `{"disconnected":7}`,
		},
		{
			"disconnect", `"channel":"room"`,
			`disconnect portal.example.com "room" {Users:[] Conns:[] Channels:[] Reconnect:false SignedIn:false Members:false Reason:}`, `{"disconnected":7}`,
		},
		{
			"leave", `"connections":["AAAAAAAAAAAAAAAAAAAAAQ"],"channels":["a","b"]`,
			`leave portal.example.com {Users:[] Conns:[AAAAAAAAAAAAAAAAAAAAAQ] Channels:[a b] Reconnect:false SignedIn:false Members:false Reason:}`, `{"left":7}`,
		},
	} {
		w := post(t, h, "/message/"+test.endpoint, `{"apiKey":"k",`+test.body+`}`)
		d.expect(t, test.asked)
		checkTruth(t, w, "false", "us-east-1/web-2")
		if w.Code != http.StatusOK || w.Body.String() != test.want {
			t.Errorf("%s: status %d: %s, want %s", test.endpoint, w.Code, w.Body, test.want)
		}
	}
	w := post(t, h, "/message/online", `{"apiKey":"k","users":["ada"],"requireComplete":true}`)
	checkProblem(t, w, http.StatusServiceUnavailable, "incomplete")
	checkTruth(t, w, "false", "us-east-1/web-2")
}

// A plugin that hides a user from listings hides that it is online.
func TestPluginsHideWhoIsOnline(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "mask"), ""))
	for _, id := range []string{"ada", "staff", "trapped"} {
		arrive(t, h, "portal.example.com", id, "")
	}
	w := post(t, h, "/message/online", `{"users":["staff","ada","bob"]}`)
	if want := `{"staff":{"online":false},"ada":{"online":true,"connections":1,"dataCenters":["local"]},"bob":{"online":false}}`; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	checkProblem(t, post(t, h, "/message/online", `{"users":["ada","trapped"]}`), http.StatusBadGateway, "plugin_failed")
	// No other call asks plugins.
	wantCall := func(endpoint, body, want string) {
		t.Helper()
		if w := post(t, h, "/message/"+endpoint, body); w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: status %d with %s", endpoint, w.Code, w.Body)
		}
	}
	wantCall("leave", `{"users":["trapped","staff"],"channels":["room"]}`, `{"left":0}`)
	wantCall("disconnect", `{"users":["trapped","staff"]}`, `{"disconnected":0}`) // they have no websocket
}
