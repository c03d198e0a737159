package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

func sentFrame(channel, body string) string {
	return fmt.Sprintf(`{"type":"message","channel":%q,"from":null,"backend":true,"message":%s}`, channel, body)
}

// Data that are JSON become the value of data, byte for byte, and other data a string.
func TestEventsReachSubscribers(t *testing.T) { synctest.Test(t, testEventsReachSubscribers) }

func testEventsReachSubscribers(t *testing.T) {
	p := newPod(t)
	_, ear := p.arrive(t, "", "1.1", "news", "private-orders")
	ear.Take()
	for data, value := range map[string]string{
		`{}`: `{}`, `{\"a\": 1.50}`: `{"a": 1.50}`, `[1, 2]`: `[1, 2]`, `null`: `null`, `12`: `12`, `\"hello\"`: `"hello"`,
		``: `""`, `hello`: `"hello"`, `{`: `"{"`, `a\u0000\"é`: `"a\u0000\"é"`, `{} {}`: `"{} {}"`,
	} {
		want(t, p.post("events", `{"name":"hello","channels":["news"],"data":"`+data+`"}`), 200, `{}`)
		ear.Hears(t, sentFrame("news", `{"event":"hello","data":`+value+`}`))
	}
	want(t, p.post("events", `{"name":"a\"b","channels":["private-orders","news","news","presence-empty"],"data":"1","socket_id":null}`), 200, `{}`)
	ear.Hears(t, sentFrame("private-orders", `{"event":"a\"b","data":1}`), sentFrame("news", `{"event":"a\"b","data":1}`))
	want(t, p.post("events", `{"name":"one","channel":"news","data":"1","more":[]}`), 200, `{}`)
	ear.Hears(t, sentFrame("news", `{"event":"one","data":1}`))
	for _, err := range p.sent {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestEventsLeaveASocketOut(t *testing.T) { synctest.Test(t, testEventsLeaveASocketOut) }

func testEventsLeaveASocketOut(t *testing.T) {
	p := newPod(t)
	_, first := p.arrive(t, "", "123.456", "news")
	_, second := p.arrive(t, "", "123.457", "news")
	first.Take()
	second.Take()
	event := sentFrame("news", `{"event":"e","data":1}`)
	want(t, p.post("events", `{"name":"e","channels":["news"],"data":"1","socket_id":"123.456"}`), 200, `{}`)
	second.Hears(t, event)
	first.Heard(t)
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"news","data":"1","socket_id":"123.456"}]}`), 200, `{}`)
	second.Hears(t, event)
	first.Heard(t)
	want(t, p.post("events", `{"name":"e","channels":["news"],"data":"1","socket_id":"9.9"}`), 200, `{}`)
	second.Hears(t, event)
	first.Hears(t, event)
}

// An event for a user reaches the connections that are signed in as the user, in their private
// channels.
func TestEventsForUsers(t *testing.T) { synctest.Test(t, testEventsForUsers) }

func testEventsForUsers(t *testing.T) {
	p := newPod(t)
	ada, adas := p.arrive(t, "ada", "1.1")
	_, graces := p.arrive(t, "grace", "1.2")
	visitor, visitors := p.arrive(t, "", "1.3")
	if err := visitor.Identify(presence.User{ID: "ada"}, nil); err != nil {
		t.Fatal(err)
	}
	want(t, p.post("events", `{"name":"e","channels":["#server-to-user-ada"],"data":"1"}`), 200, `{}`)
	adas.Hears(t, sentFrame(ada.ID().PrivateChannel(), `{"event":"e","data":1}`))
	want(t, p.post("events", `{"name":"e","channels":["#server-to-user-ada","news"],"data":"1","info":"subscription_count"}`), 200,
		`{"channels":{"#server-to-user-ada":{},"news":{"subscription_count":0}}}`)
	adas.Hears(t, sentFrame(ada.ID().PrivateChannel(), `{"event":"e","data":1}`))
	graces.Heard(t)
	visitors.Heard(t)
}

// An app is of one host, whatever name the backend uses: T3.
func TestPinnedHost(t *testing.T) { synctest.Test(t, testPinnedHost) }

func testPinnedHost(t *testing.T) {
	p := newPod(t)
	_, here := p.arrive(t, "", "1.1", "news")
	_, there := p.arriveAt(t, tenant, "", "1.2", "news")
	here.Take()
	there.Take()
	q := query{method: "POST", path: "/apps/4/events", body: hello, key: "key-4", secret: "secret-of-app-four"}
	want(t, p.do(q.request()), 200, `{}`)
	there.Hears(t, sentFrame("news", `{"event":"hello","data":{}}`))
	q = query{method: "GET", path: "/apps/4/connections", key: "key-4", secret: "secret-of-app-four"}
	want(t, p.do(q.request()), 200, `{"connections":1}`)
	q.path, q.key, q.secret = "/apps/a%20b/connections", "key-5", "secret-of-app-five"
	want(t, p.do(q.request()), 200, `{"connections":1}`)
	here.Heard(t)
	delete(p.door.sites, tenant)
	q.path, q.key, q.secret = "/apps/4/connections", "key-4", "secret-of-app-four"
	wantError(t, p.do(q.request()), 421, "not served here")
}

func TestBadEvents(t *testing.T) {
	long := strings.Repeat("x", 201)
	for body, wanted := range map[string]string{
		``:                             "400 must be a JSON object",
		`[]`:                           "400 must be a JSON object",
		`{"name":"e"`:                  "400 must be a JSON object",
		"{\"name\":\"\xff\"}":          "400 is not UTF-8",
		`{"channels":["a"],"data":""}`: "400 name is missing",
		`{"name":null,"channels":["a"],"data":""}`:                                     "400 name is missing",
		`{"name":1,"channels":["a"],"data":""}`:                                        "400 name must be a string",
		`{"name":"","channels":["a"],"data":""}`:                                       "400 1 to 200 bytes",
		`{"name":"` + long + `","channels":["a"],"data":""}`:                           "400 1 to 200 bytes",
		`{"name":"pusher:e","channels":["a"],"data":""}`:                               "400 choose another name",
		`{"name":"pusher_internal:e","channels":["a"],"data":""}`:                      "400 choose another name",
		`{"name":"e","channels":["a"]}`:                                                "400 data is missing",
		`{"name":"e","channels":["a"],"data":null}`:                                    "400 data is missing",
		`{"name":"e","channels":["a"],"data":{}}`:                                      "400 data must be a string",
		`{"name":"e","channels":["a"],"data":1}`:                                       "400 data must be a string",
		`{"name":"e","channels":["a"],"data":"` + strings.Repeat("x", 10<<10+1) + `"}`: "413 data has 10241 bytes",
		`{"name":"e","data":""}`:                                                       "400 channels is missing",
		`{"name":"e","channels":[],"data":""}`:                                         "400 channels has 0 entries",
		`{"name":"e","channels":["a"` + strings.Repeat(`,"a"`, 100) + `],"data":""}`:   "400 channels has 101 entries",
		`{"name":"e","channels":"a","data":""}`:                                        "400 channels must be an array",
		`{"name":"e","channels":[1],"data":""}`:                                        "400 channels must be an array of strings",
		`{"name":"e","channels":["a",null],"data":""}`:                                 "400 channels[1] must be a string",
		`{"name":"e","channels":["a"],"channel":"a","data":""}`:                        "400 not both",
		`{"name":"e","channel":1,"data":""}`:                                           "400 channel must be a string",
		`{"name":"e","channel":"","data":""}`:                                          "400 1 to 200",
		`{"name":"e","channel":"` + long + `","data":""}`:                              "400 at most 200",
		`{"name":"e","channels":["a","b c"],"data":""}`:                                "400 channels[1]: the name",
		`{"name":"e","channels":["a","#b"],"data":""}`:                                 "400 #server-to-user-",
		`{"name":"e","channels":["#server-to-user-"],"data":""}`:                       "400 no user",
		`{"name":"e","channels":["tab|a"],"data":""}`:                                  "400 only letters",
		`{"name":"e","channels":["a","private-encrypted-b"],"data":""}`:                "400 alone",
		`{"name":"e","channel":"a","data":"","socket_id":"1"}`:                         "400 socket_id",
		`{"name":"e","channel":"a","data":"","socket_id":1}`:                           "400 socket_id must be a string",
		`{"name":"e","channel":"a","data":"","socket_id":""}`:                          "400 socket_id",
		`{"name":"e","channel":"a","data":"","info":"users"}`:                          "400 info has an unknown name",
		`{"name":"e","channel":"a","data":"","info":1}`:                                "400 info must be a string",
	} {
		p := newPod(t)
		var status int
		var part string
		if _, err := fmt.Sscanf(wanted, "%d", &status); err != nil {
			t.Fatal(err)
		}
		part = wanted[4:]
		wantError(t, p.post("events", body), status, part)
		if strings.HasPrefix(body, "{") && strings.HasSuffix(body, "}") && !strings.Contains(body, `"channels"`) && strings.Contains(body, `"channel"`) && !strings.Contains(body, "\xff") {
			good := `{"name":"e","channel":"a","data":""}`
			wantError(t, p.post("batch_events", `{"batch":[`+good+`,`+body+`]}`), status, "batch[1]: ")
		}
		if len(p.sent) > 0 {
			t.Errorf("%s was sent", body)
		}
	}
}

func TestBatches(t *testing.T) { synctest.Test(t, testBatches) }

func testBatches(t *testing.T) {
	p := newPod(t)
	_, ear := p.arrive(t, "", "1.1", "a", "b")
	ear.Take()
	want(t, p.post("batch_events", `{"batch":[]}`), 200, `{}`)
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"a","data":"1"},{"name":"f","channel":"b","data":"2"}]}`), 200, `{}`)
	ear.Hears(t, sentFrame("a", `{"event":"e","data":1}`), sentFrame("b", `{"event":"f","data":2}`))
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"a","data":"1","info":"subscription_count,user_count"},{"name":"f","channel":"private-encrypted-b","data":"2"}]}`),
		200, `{"batch":[{"subscription_count":1},{}]}`)
	ear.Hears(t, sentFrame("a", `{"event":"e","data":1}`))
	good := `{"name":"e","channel":"a","data":"1"}`
	for body, part := range map[string]string{
		`{}`: "batch must be an array", `{"batch":null}`: "batch must be an array", `{"batch":{}}`: "batch must be an array",
		`{"batch":[1]}`: "batch[0]: an event must be a JSON object", `{"batch":[` + good + `,null]}`: "batch[1]: an event must be",
		`{"batch":[{"name":"e","data":""}]}`:                      "batch[0]: channel is missing",
		`{"batch":[{"name":"e","channels":["a"],"data":""}]}`:     "batch[0]: an event of a batch has channel",
		`{"batch":[` + strings.Repeat(good+",", 10) + good + `]}`: "batch has 11 events, over 10",
	} {
		wantError(t, p.post("batch_events", body), 400, part)
	}
	ear.Heard(t)
}

// One hundred channels have room for the largest data, also if these need more bytes in JSON.
func TestLargestEvents(t *testing.T) { synctest.Test(t, testLargestEvents) }

func testLargestEvents(t *testing.T) {
	p := newPod(t)
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf(`"channel-%d"`, i))
	}
	_, first := p.arrive(t, "", "1.1", "channel-0")
	_, last := p.arrive(t, "", "1.2", "channel-99")
	first.Take()
	last.Take()
	want(t, p.post("events", `{"name":"e","channels":[`+strings.Join(names, ",")+`],"data":"`+strings.Repeat(`\\`, 10<<10)+`"}`), 200, `{}`)
	body := `{"event":"e","data":"` + strings.Repeat(`\\`, 10<<10) + `"}`
	first.Hears(t, sentFrame("channel-0", body))
	last.Hears(t, sentFrame("channel-99", body))
	p.site.Pusher.EventSize = presence.MaxMessage
	wantError(t, p.post("events", `{"name":"e","channel":"a","data":"`+strings.Repeat("x", presence.MaxMessage)+`"}`), 413, "send less data")
}

func TestEventsThatCannotBeSent(t *testing.T) {
	p := newPod(t)
	p.CheckSend = func(*site.Site) error { return errors.New("the other pods are not known yet") }
	for path, body := range map[string]string{"events": hello, "batch_events": `{"batch":[{"name":"e","channel":"a","data":"1"}]}`} {
		w := p.post(path, body)
		wantError(t, w, http.StatusServiceUnavailable, "the other pods are not known yet")
		if w.Header().Get("Retry-After") != "1" {
			t.Error("no Retry-After")
		}
	}
	if len(p.sent) != 2 || p.sent[0] == nil || p.sent[1] == nil {
		t.Errorf("counted %v", p.sent)
	}
}

// FuzzBatch checks that a batch is refused, or sent as it is: T34.
func FuzzBatch(f *testing.F) {
	for _, body := range []string{
		`{"batch":[{"name":"e","channel":"a","data":"1"},{"name":"e","channel":"#server-to-user-a","data":"{","info":"cache"}]}`, `{"batch":[null]}`,
		`{"batch":[{"name":"e","channel":"presence-a","data":"\"\ud800\"","socket_id":"1.2"}]}`, `{"batch":[]}`, `{"batch":[[]],"batch":1}`,
		`{"batch":[{"name":"\u0000","channel":"a","data":" {} "}]}`,
	} {
		f.Add([]byte(body))
	}
	c := app.Defaults()
	f.Fuzz(func(t *testing.T, body []byte) {
		batch, e := parseBatch(&request{config: &c, body: body})
		if e != nil {
			if e.status != 400 && e.status != 413 || e.text == "" || batch != nil {
				t.Errorf("%+v", e)
			}
			return
		}
		if len(batch) > c.BatchSize {
			t.Errorf("%d events", len(batch))
		}
		for _, ev := range batch {
			checkEvent(t, &ev, &c)
		}
	})
}

// FuzzEvent checks the same for one event: T34.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(hello))
	f.Add([]byte(`{"name":"e","channels":["private-encrypted-a","private-encrypted-a"],"data":"{\"a\":[1,2]}","info":"user_count,,cache"}`))
	c := app.Defaults()
	f.Fuzz(func(t *testing.T, body []byte) {
		v, e := parseObject(body, "the body")
		if e != nil {
			return
		}
		if ev, e := parseEvent(v, &c, false); e == nil {
			checkEvent(t, &ev, &c)
		}
	})
}

func checkEvent(t *testing.T, ev *event, c *app.Config) {
	t.Helper()
	if ev.name == "" || len(ev.name) > app.MaxEvent || strings.HasPrefix(ev.name, "pusher") || len(ev.data) > c.EventSize ||
		len(ev.channels) == 0 || len(ev.channels) > maxChannels || len(ev.traits) != len(ev.channels) {
		t.Errorf("%+v", ev)
	}
	message, raw := pusher.BackendMessage(ev.name, ev.data)
	if v, e := parseObject(message, "the message"); e != nil || len(v["event"]) == 0 {
		t.Fatalf("%q: %+v", message, e)
	}
	if name, data := pusher.BackendEvent(message, raw); name != ev.name || data != ev.data {
		t.Errorf("the event %q with %q became %q with %q", ev.name, ev.data, name, data)
	}
}
