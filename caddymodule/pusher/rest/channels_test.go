package rest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// TestChannels asks about an empty host, and then about one with members, listeners and a hidden
// channel.
func TestChannels(t *testing.T) {
	p := newPod(t)
	for path, body := range map[string]string{ // PHP needs objects: T28
		"channels": `{"channels":{}}`,
		"channels?info=user_count&filter_by_prefix=presence-": `{"channels":{}}`,
		"channels/news": `{"occupied":false}`,
		"channels/presence-a?info=user_count,subscription_count": `{"occupied":false,"user_count":0,"subscription_count":0}`,
		"channels/cache-a?info=cache":                            `{"occupied":false,"cache":null}`,
		"channels/presence-a/users":                              `{"users":[]}`,
		"connections":                                            `{"connections":0}`,
	} {
		want(t, p.get(path), 200, body)
	}
	ada1, _ := p.arrive(t, "ada", "1.1", "presence-a", "news")
	p.arrive(t, "ada", "1.2", "presence-a")
	bob, _ := p.arrive(t, "bob", "1.3", "private-b", "presence-b")
	p.arrive(t, "", "1.4", "news", "private-b")
	ten, _ := p.arrive(t, "", "1.5")
	as := &presence.Identity{ID: "10", Info: `[1, "x"]`}
	if err := ten.Enter("presence-a", presence.Entry{Proof: true, Member: as}); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"channels":                                                                `{"channels":{"news":{},"presence-a":{},"presence-b":{},"private-b":{}}}`,
		"channels?info=&filter_by_prefix=":                                        `{"channels":{"news":{},"presence-a":{},"presence-b":{},"private-b":{}}}`,
		"channels?filter_by_prefix=presence-b":                                    `{"channels":{"presence-b":{}}}`,
		"channels?filter_by_prefix=x":                                             `{"channels":{}}`,
		"channels?info=subscription_count":                                        `{"channels":{"news":{"subscription_count":2},"presence-a":{"subscription_count":3},"presence-b":{"subscription_count":1},"private-b":{"subscription_count":2}}}`,
		"channels?info=user_count&filter_by_prefix=presence-":                     `{"channels":{"presence-a":{"user_count":2},"presence-b":{"user_count":1}}}`,
		"channels?info=user_count,subscription_count&filter_by_prefix=presence-a": `{"channels":{"presence-a":{"user_count":2,"subscription_count":3}}}`,
		"channels/news":                                                           `{"occupied":true}`,
		"channels/news?info=subscription_count":                                   `{"occupied":true,"subscription_count":2}`,
		"channels/private-b?info=subscription_count":                              `{"occupied":true,"subscription_count":2}`,
		"channels/presence-a?info=user_count":                                     `{"occupied":true,"user_count":2}`,
		"channels/presence-a?info=subscription_count,user_count":                  `{"occupied":true,"user_count":2,"subscription_count":3}`,
		"channels/presence%2Da?info=user_count":                                   `{"occupied":true,"user_count":2}`,
		"channels/presence-a/users":                                               `{"users":[{"id":"ada"},{"id":"10"}]}`,
		"channels/presence-a/users?with_user_info=1":                              `{"users":[{"id":"ada"},{"id":"10","user_info":[1, "x"]}]}`,
		"channels/presence-a/users?require_complete=1":                            `{"users":[{"id":"ada"},{"id":"10"}]}`,
		"connections": `{"connections":5}`,
	} {
		want(t, p.get(path), 200, body)
	}
	want(t, p.post("events", `{"name":"e","channels":["presence-a","news","presence-c"],"data":"1","info":"user_count,subscription_count,cache"}`), 200,
		`{"channels":{"presence-a":{"user_count":2,"subscription_count":3},"news":{"subscription_count":2},"presence-c":{"user_count":0,"subscription_count":0}}}`)
	ada1.Close()
	bob.Close()
	want(t, p.get("channels/presence-a/users"), 200, `{"users":[{"id":"ada"},{"id":"10"}]}`)
	want(t, p.get("channels/presence-b/users"), 200, `{"users":[]}`)
	want(t, p.get("channels/presence-b"), 200, `{"occupied":false}`)
}

// TestT28Bytes compares the answers that PHP needs as objects, to the byte.
func TestT28Bytes(t *testing.T) {
	p := newPod(t)
	p.arrive(t, "ada", "1.1", "presence-a")
	want(t, p.get("channels?filter_by_prefix=presence-x"), 200, `{"channels":{}}`)
	want(t, p.post("events", `{"name":"e","channels":["a","b"],"data":"1"}`), 200, `{}`)
	want(t, p.post("events", `{"name":"e","channels":["a"],"data":"1","info":"user_count"}`), 200, `{"channels":{"a":{}}}`)
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"a","data":"1"},{"name":"e","channel":"a","data":"1"}]}`), 200, `{}`)
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"presence-a","data":"1","info":"user_count"},{"name":"e","channel":"a","data":"1"}]}`), 200,
		`{"batch":[{"user_count":1},{}]}`)
	want(t, p.post("users/ada/terminate_connections", ``), 200, `{}`)
}

// TestT29MembersOfChannels asks for members where there are none.
func TestT29MembersOfChannels(t *testing.T) {
	p := newPod(t)
	p.arrive(t, "ada", "1.1", "news")
	for _, name := range []string{"news", "quiet", "private-a"} {
		wantError(t, p.get("channels/"+name+"/users"), 400, "only presence channels have members")
	}
	want(t, p.get("channels/presence-empty/users"), 200, `{"users":[]}`)
}

func TestBadQuestions(t *testing.T) {
	p := newPod(t)
	p.arrive(t, "ada", "1.1", "news")
	for path, part := range map[string]string{
		"channels?info=user_count":                           "only presence channels",
		"channels?info=user_count&filter_by_prefix=presence": "only presence channels",
		"channels?info=users":                                "unknown name",
		"channels?info=cache":                                "one channel at a time",
		"channels/news?info=user_count":                      "only presence channels",
		"channels/news?info=cache":                           "only cache channels",
		"channels/news?info=x":                               "unknown name",
		"channels/a%20b":                                     "only letters",
		"channels/%23x":                                      "#server-to-user-",
		"channels/%23server-to-user-ada":                     "no channel that has subscribers",
		"channels/news/users":                                "only presence channels",
		"channels/private-a/users":                           "only presence channels",
		"channels/presence1/users":                           "only presence channels",
	} {
		wantError(t, p.get(path), 400, part)
	}
}

// hiding hides channels and leaves their kinds.
type hiding struct{ presence.Patterns }

func (h hiding) Classify(host presence.HostName, name string) (presence.Class, error) {
	c, err := h.Patterns.Classify(host, name)
	c.Hidden = strings.HasSuffix(name, "hidden")
	c.CountOnly = c.CountOnly || name == "presence-quiet"
	return c, err
}

// Hidden channels answer as unoccupied ones; a channel whose names are off has its numbers.
func TestHiddenChannels(t *testing.T) {
	p := newPod(t)
	rules := *p.site.Rules()
	rules.Classifier = hiding{p.site.Patterns}
	p.site.SetRules(&rules)
	p.arrive(t, "ada", "1.1", "presence-hidden", "hidden", "presence-quiet", "news")
	for path, body := range map[string]string{
		"channels": `{"channels":{"news":{},"presence-quiet":{}}}`,
		"channels?info=user_count&filter_by_prefix=presence-": `{"channels":{"presence-quiet":{"user_count":1}}}`,
		"channels/presence-hidden?info=user_count":            `{"occupied":false,"user_count":0}`,
		"channels/presence-hidden/users":                      `{"users":[]}`,
		"channels/hidden?info=subscription_count":             `{"occupied":false,"subscription_count":0}`,
		"channels/presence-quiet?info=user_count":             `{"occupied":true,"user_count":1}`,
		"channels/presence-quiet/users":                       `{"users":[]}`,
	} {
		want(t, p.get(path), 200, body)
	}
	want(t, p.post("events", `{"name":"e","channel":"presence-hidden","data":"1","info":"user_count"}`), 200, `{"channels":{"presence-hidden":{"user_count":0}}}`)
}

func TestTerminate(t *testing.T) {
	p := newPod(t)
	want(t, p.post("users/ada/terminate_connections", ``), 200, `{}`)
	want(t, p.post("users/a%2Fb/terminate_connections", `{}`), 200, `{}`)
	p.site.Pusher.TerminateMembers = true
	want(t, p.post("users/%20/terminate_connections", ``), 200, `{}`)
	wantError(t, p.post("users/%00/terminate_connections", ``), 400, "ID of a user")
	got := p.called()
	if len(got) != 3 || got[0] != portal+` "" [ada] signed in: true` || got[1] != portal+` "" [a/b] signed in: true` || got[2] != portal+` "" [ ] signed in: true members` {
		t.Errorf("calls %q", got)
	}
}

// The last event of a cache channel is what clients received, in the form in which they did.
func TestCache(t *testing.T) { synctest.Test(t, testCache) }

func testCache(t *testing.T) {
	p := newPod(t)
	p.registry.KeepLast(func(presence.HostName) time.Duration { return 30 * time.Minute })
	const path = "channels/private-cache-a?info=cache,subscription_count"
	want(t, p.get(path), 200, `{"occupied":false,"subscription_count":0,"cache":null}`)
	for _, data := range []string{`{\"a\": \"1\"}`, `\"text\"`, `no JSON`, ``, ` 1 `} {
		want(t, p.post("events", `{"name":"e","channel":"private-cache-a","data":"`+data+`"}`), 200, `{}`)
		want(t, p.get(path), 200, `{"occupied":false,"subscription_count":0,"cache":{"data":"`+data+`","ttl":1800}}`)
	}
	time.Sleep(29*time.Minute + 58500*time.Millisecond)
	want(t, p.post("events", `{"name":"e","channel":"news","data":"1","info":"cache"}`), 200, `{"channels":{"news":{}}}`)
	want(t, p.post("batch_events", `{"batch":[{"name":"e","channel":"cache-b","data":"2","info":"cache"},{"name":"e","channel":"private-cache-b","data":"3","info":"cache"}]}`), 200,
		`{"batch":[{"cache":{"data":"2","ttl":1800}},{"cache":{"data":"3","ttl":1800}}]}`)
	want(t, p.get(path), 200, `{"occupied":false,"subscription_count":0,"cache":{"data":" 1 ","ttl":2}}`)
	time.Sleep(2 * time.Second)
	want(t, p.get(path), 200, `{"occupied":false,"subscription_count":0,"cache":null}`)

	rules := *p.site.Rules()
	rules.Classifier = hiding{p.site.Patterns}
	p.site.SetRules(&rules)
	want(t, p.post("events", `{"name":"e","channel":"cache-hidden","data":"1"}`), 200, `{}`)
	want(t, p.get("channels/cache-hidden?info=cache"), 200, `{"occupied":false,"cache":null}`)
}
