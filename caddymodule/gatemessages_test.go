package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestPluginDecidesAboutMessages(t *testing.T) {
	for _, test := range []struct {
		name, policy, send string
		answer             string   // to the sender
		room, anonymous    []string // messages in both channels
	}{
		{name: "no change", send: `{"x": "yes"}`, answer: `{"type":"sent","id":7}`, room: []string{`{"x": "yes"}`}, anonymous: []string{`{"x": "yes"}`}},
		{name: "refused", send: `{"x":"r"}`, answer: `{"type":"error","id":7,"code":"denied","message":"a plugin of this site refuses the message in channel \"room\""}`},
		{name: "refused under any policy", policy: "pass", send: `{"x":"r"}`, answer: `"code":"denied"`},
		{name: "one refusal refuses all", send: `{"x":"a"}`, answer: `refuses the message in channel \"anonymous-1\"`},
		{name: "replaced", send: `{"x":"s"}`, answer: `{"type":"sent","id":7}`, room: []string{`{"x":"replaced"}`}, anonymous: []string{`{"x":"replaced"}`}},
		{name: "each channel once and in order", send: `{"x":"n"}`, answer: `"sent"`, room: []string{`{"x":"1"}`}, anonymous: []string{`{"x":"2"}`}},
		{
			name: "the sender", send: `{"x":"e"}`, answer: `"sent"`,
			room: []string{`{"x":"10portal.example.comroomada"}`}, anonymous: []string{`{"x":"20portal.example.comanonymous-1ada"}`},
		},
		{name: "a trap", send: `{"x":"t"}`, answer: `{"type":"error","id":7,"code":"unavailable","message":"try again later"}`},
		{name: "a trap that passes", policy: "pass", send: `{"x":"t"}`, answer: `"sent"`, room: []string{`{"x":"t"}`}, anonymous: []string{`{"x":"t"}`}},
		{name: "no end", send: `{"x":"w"}`, answer: `"code":"unavailable"`},
		{name: "rubbish", send: `{"x":"z"}`, answer: `"code":"unavailable"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := "instances 1"
			if test.policy != "" {
				options += "\non_failure " + test.policy
			}
			c, server := gated(t, options)
			ada, eve := enter(t, server, "ada"), enter(t, server, "eve")
			for _, channel := range []string{"room", "anonymous-1"} {
				eve.tell(`{'type':'join','channel':'%s'}`, channel)
				eve.wants(`"joined"`)
				ada.tell(`{'type':'join','channel':'%s'}`, channel)
				ada.wants(`"joined"`)
			}
			ada.tell(`{"type":"send","id":7,"echo":false,"channels":["room","anonymous-1","room"],"message":%s}`, test.send)
			ada.wants(test.answer)
			ada.quiet()
			got := make(map[string][]string)
			for range len(test.room) + len(test.anonymous) {
				var frame struct {
					Channel string
					Message json.RawMessage
				}
				if err := json.Unmarshal([]byte(eve.wants(`"type":"message"`)), &frame); err != nil {
					t.Fatal(err)
				}
				got[frame.Channel] = append(got[frame.Channel], string(frame.Message))
			}
			eve.quiet()
			if !slices.Equal(got["room"], test.room) || !slices.Equal(got["anonymous-1"], test.anonymous) {
				t.Errorf("eve got %q", got)
			}
			code := "ok"
			if strings.Contains(test.answer, "denied") || strings.Contains(test.answer, "refuses") {
				code = "denied"
			} else if strings.Contains(test.answer, "unavailable") {
				code = "unavailable"
			}
			if got := scrape(t, c.ctx.GetMetricsRegistry()); !strings.Contains(got, "messages_total{from=client,host=portal.example.com,result="+code+"} 1") {
				t.Errorf("the message does not count as %s:\n%s", code, got)
			}
		})
	}
}

// Rollcall's own checks come first: the number of calls tells.
func TestPluginIsNotAskedAboutMessagesThatAreRefused(t *testing.T) {
	_, server := gated(t, "instances 1")
	ada := enter(t, server, "ada")
	ada.tell(`{'type':'join','channel':'room'}`)
	ada.wants(`"joined"`)
	ada.tell(`{'type':'send','channels':['room','elsewhere'],'message':{'x':'n'}}`)
	ada.wants(`"not_joined"`)
	ada.tell(`{'type':'send','channels':['room'],'message':{'x':'n'}}`)
	ada.wants(`"sent"`)
	ada.wants(`"message":{'x':'1'}`)
}

// While a plugin decides about messages, each channel of a frame counts as a frame.
func TestEachChannelCountsAsAFrame(t *testing.T) {
	for _, test := range []struct {
		name  string
		gated bool
	}{{"without such a plugin", false}, {"with one", true}} {
		t.Run(test.name, func(t *testing.T) {
			file := assemble(t, "gate")
			if !test.gated {
				file = assemble(t, "gate", `(export "rollcall_message")`, `(export "other")`)
			}
			c, server := gated(t, "", file)
			c.handler(t).rollcall.Site.Limits.FramesPerSecond, c.handler(t).rollcall.Site.Limits.Channels = 0.0001, 20 // 20 frames, and no more
			ada := enter(t, server, "ada")
			channels := []string{"c0", "c1", "c2", "c3", "c4"}
			for _, channel := range channels {
				ada.tell(`{'type':'join','channel':'%s'}`, channel)
				ada.wants(`"joined"`)
			}
			list, _ := json.Marshal(channels)
			sent := 0
			for {
				ada.tell(`{"type":"send","echo":false,"channels":%s,"message":{}}`, list)
				if !strings.Contains(ada.wants("type"), `"sent"`) {
					break
				}
				sent++
			}
			if want := map[bool]int{false: 15, true: 3}[test.gated]; sent != want {
				t.Errorf("%d messages to %d channels were sent, want %d", sent, len(channels), want)
			}
		})
	}
}

func TestPluginDecidesAboutMessagesOfTheBackend(t *testing.T) {
	c, server := gated(t, "instances 1")
	eve := enter(t, server, "eve")
	for _, channel := range []string{"room", "anonymous-1"} {
		eve.tell(`{'type':'join','channel':'%s'}`, channel)
		eve.wants(`"joined"`)
	}
	send := func(body string) *httptest.ResponseRecorder {
		t.Helper()
		return post(t, c.handler(t), "/message/sendmessage", `{"apiKey":"k",`+body+`}`)
	}
	created := func(body string) {
		t.Helper()
		if w := send(body); w.Code != http.StatusCreated || w.Body.String() != "{"+body+"}" {
			t.Errorf("%s: status %d: %s", body, w.Code, w.Body)
		}
	}
	created(`"channels":["room","room"],"message":{"x":"n"}`)
	eve.wants(`"channel":"room"`, `"backend":true,"message":{"x":"1"}`)
	created(`"channels":["room"],"message":{"x":"e"}`)
	eve.wants(`"message":{"x":"12portal.example.comroom"}`)
	created(`"users":["eve"],"message":{"x":"r"}`) // users are not asked about
	eve.wants(`"channel":"tab|`, `"message":{"x":"r"}`)
	created(`"channels":["room"],"users":["eve"],"message":{"x":"s"}`)
	got := eve.wants("type") + eve.wants("type")
	if !strings.Contains(got, `"channel":"room","from":null,"backend":true,"message":{"x":"replaced"}`) || !strings.Contains(got, `"message":{"x":"s"}`) {
		t.Errorf("channel and user got %s", got)
	}
	created(`"channels":["room"],"idempotencyKey":"once","message":{"x":"n"}`)
	eve.wants(`"message":{"x":"4"}`)
	created(`"channels":["room"],"idempotencyKey":"once","message":{"x":"n"}`) // a repetition is no call
	created(`"channels":["room"],"message":{"x":"n"}`)
	eve.wants(`"message":{"x":"5"}`)

	w := send(`"channels":["room","anonymous-1"],"idempotencyKey":"refused","message":{"x":"a"}`)
	checkProblem(t, w, http.StatusForbidden, "denied")
	if !strings.Contains(w.Body.String(), `"channel":"anonymous-1"`) {
		t.Errorf("the answer does not name the channel: %s", w.Body)
	}
	created(`"channels":["room"],"idempotencyKey":"refused","message":{"x":"yes"}`) // a refused request leaves no key
	eve.wants(`"message":{"x":"yes"}`)
	w = send(`"channels":["room"],"message":{"x":"t"}`)
	checkProblem(t, w, http.StatusServiceUnavailable, "unavailable")
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "wasm") || strings.Contains(w.Body.String(), "trap") {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	eve.quiet()
	text := scrape(t, c.ctx.GetMetricsRegistry())
	for _, line := range []string{
		"messages_total{from=backend,host=portal.example.com,result=denied} 1", "messages_total{from=backend,host=portal.example.com,result=unavailable} 1",
		"plugin_calls_total{hook=message,host=portal.example.com,plugin=gate,result=refused} 1",
		"plugin_calls_total{hook=message,host=portal.example.com,plugin=gate,result=trap} 1",
		"plugin_calls_total{hook=connect,host=portal.example.com,plugin=gate,result=ok} 1",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// What replaces a message is bounded in all channels together.
func TestReplacementsAreBoundedTogether(t *testing.T) {
	for _, policy := range []string{"deny", "pass"} {
		t.Run(policy, func(t *testing.T) {
			c, _ := gated(t, "on_failure "+policy)
			for n, fits := range map[int]bool{10: true, 11: false} {
				var channels []string
				for i := range n {
					channels = append(channels, fmt.Sprintf("%q", fmt.Sprint("c", i)))
				}
				w := post(t, c.handler(t), "/message/sendmessage", `{"apiKey":"k","channels":[`+strings.Join(channels, ",")+`],"message":{"x":"l"}}`)
				if want := fits || policy == "pass"; (w.Code == http.StatusCreated) != want {
					t.Errorf("%d channels: status %d: %s", n, w.Code, w.Body)
				}
				if !fits && !strings.Contains(scrape(t, c.ctx.GetMetricsRegistry()), "result=bad_result} 1") {
					t.Error("it does not count as an invalid result")
				}
			}
		})
	}
}

// The copies for the backend have what the channel gets, also in the mode in which nobody else gets
// it.
func TestCopiesHaveWhatReplacesTheMessage(t *testing.T) {
	got := make(chan string, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Channel string
			Message json.RawMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		got <- body.Channel + " " + string(body.Message)
	}))
	t.Cleanup(backend.Close)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	file := assemble(t, "gate")
	c := mustLoad(t, strings.Replace(gatedSite(file, "instances 1"), "api_key k\n", "api_key k\n\t\tbackend "+backend.URL+" {\n\t\t\tsecret "+backendSecret+"\n\t\t}\n", 1))
	c.app.hub.Offer(c.snapshot())
	h := c.handler(t)
	server := listen(t, h)
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"listened","mode":"listen"},{"name":"received","mode":"receive"}]}]`, "ada")
	ada, eve := enter(t, server, "ada"), enter(t, server, "eve")
	for range 2 {
		ada.wants(`"joined"`)
	}
	for _, channel := range []string{"listened", "received"} {
		eve.tell(`{'type':'join','channel':'%s'}`, channel)
		eve.wants(`"joined"`)
	}
	ada.tell(`{'type':'send','echo':false,'channels':['listened','received'],'message':{'x':'n'}}`)
	ada.wants(`"sent"`)
	eve.wants(`"channel":"listened"`, `"message":{"x":"1"}`)
	eve.quiet()
	copied := []string{<-got, <-got}
	slices.Sort(copied)
	if want := []string{`listened {"x":"1"}`, `received {"x":"2"}`}; !slices.Equal(copied, want) {
		t.Errorf("copied %q, want %q", copied, want)
	}
	ada.tell(`{'type':'send','channels':['listened','received'],'message':{'x':'r'}}`)
	ada.wants(`"denied"`)
	ada.tell(`{'type':'send','channels':['listened'],'message':{'x':'n'}}`)
	if next := <-got; next != `listened {"x":"4"}` { // 3 was refused
		t.Errorf("then copied %s", next)
	}
}
