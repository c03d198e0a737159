package rest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Serves, Connections, Explain and Leave implement cluster.Local.
func (p *pod) Serves(host presence.HostName) bool                          { return p.door.sites[host.String()] != nil }
func (*pod) Connections() int                                              { return 1 }
func (*pod) Explain(presence.HostName, string) (none []message.Connection) { return none }
func (*pod) Leave(presence.HostName, *message.Call) int                    { return 0 }

// Hosts implements Local.
func (*pod) Hosts(presence.HostName) []message.HostCount { return nil }

// Listeners implements Local.
func (*pod) Listeners(presence.HostName, presence.Listeners) (of presence.Listing, list []message.Listener, ok bool) {
	return of, nil, false
}

// threePods starts pods in two data centers, and waits until they know each other.
func threePods(t *testing.T) []*pod {
	t.Helper()
	var (
		pods  []*pod
		first string
	)
	for i, dc := range []string{"x", "x", "y"} {
		p := newPod(t)
		cfg := cluster.Config{DataCenter: dc, Pod: fmt.Sprint(i), Secret: "of the payloads", Logger: zap.NewNop()}
		cfg.Bus = bus.Config{Listen: "127.0.0.1:0", Secret: "of the routes"}
		if first != "" {
			cfg.Bus.Routes = []string{first}
		}
		c, err := cluster.Start(cfg, p.registry, p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		c.SetSites([]message.Site{{}})
		if first == "" {
			first = c.Report(t.Context()).Bus.Listen
		}
		p.others = c
		pods = append(pods, p)
	}
	for _, p := range pods {
		testkit.Eventually(t, "the pods know each other", func() bool {
			return p.others.Ready() && len(p.others.Report(t.Context()).Pods) == 3 && p.get("connections?require_complete=1").Code == 200
		})
	}
	return pods
}

// Each pod answers for all of them, with each user once.
func TestThreePods(t *testing.T) {
	pods := threePods(t)
	as := func(id string) presence.Entry {
		return presence.Entry{Proof: true, Member: &presence.Identity{ID: id, Info: `"of ` + id + `"`}}
	}
	for i, p := range pods {
		c, _ := p.arrive(t, "", fmt.Sprintf("1.%d", i), "news", "private-a")
		for _, name := range []string{"presence-a", fmt.Sprintf("presence-%d", i)} {
			if err := c.Enter(name, as("ada")); err != nil {
				t.Fatal(err)
			}
		}
	}
	bob, _ := pods[1].arrive(t, "", "2.1")
	if err := bob.Enter("presence-a", as("bob")); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		testkit.Eventually(t, "an answer that is not shared with an earlier question", func() bool {
			return p.get("connections").Body.String() == `{"connections":4}`
		})
		for path, body := range map[string]string{
			"channels": `{"channels":{"news":{},"presence-0":{},"presence-1":{},"presence-2":{},"presence-a":{},"private-a":{}}}`,
			"channels?filter_by_prefix=presence-&info=user_count": `{"channels":{"presence-0":{"user_count":1},"presence-1":{"user_count":1},"presence-2":{"user_count":1},"presence-a":{"user_count":2}}}`,
			"channels?filter_by_prefix=p&info=subscription_count": `{"channels":{"presence-0":{"subscription_count":1},"presence-1":{"subscription_count":1},"presence-2":{"subscription_count":1},` +
				`"presence-a":{"subscription_count":4},"private-a":{"subscription_count":3}}}`,
			"channels/news?info=subscription_count":                  `{"occupied":true,"subscription_count":3}`,
			"channels/private-a?info=subscription_count":             `{"occupied":true,"subscription_count":3}`,
			"channels/presence-a?info=user_count,subscription_count": `{"occupied":true,"user_count":2,"subscription_count":4}`,
			"channels/presence-b?info=user_count":                    `{"occupied":false,"user_count":0}`,
			"channels/presence-b/users":                              `{"users":[]}`,
			"channels/presence-0/users?with_user_info=1":             `{"users":[{"id":"ada","user_info":"of ada"}]}`,
		} {
			name, params, _ := strings.Cut(path, "?")
			want(t, p.get(name+"?require_complete=1&"+params), 200, body)
		}
		w := p.get("channels/presence-a/users?with_user_info=1&require_complete=1")
		if body := w.Body.String(); body != `{"users":[{"id":"ada","user_info":"of ada"},{"id":"bob","user_info":"of bob"}]}` &&
			body != `{"users":[{"id":"bob","user_info":"of bob"},{"id":"ada","user_info":"of ada"}]}` {
			t.Error(body)
		}
		want(t, p.post("events", `{"name":"e","channels":["presence-a","private-a"],"data":"1","info":"user_count,subscription_count"}`), 200,
			`{"channels":{"presence-a":{"user_count":2,"subscription_count":4},"private-a":{"subscription_count":3}}}`)
	}
}

// Events reach subscribers and users of all pods, and leave a socket of another pod out.
func TestEventsOfThreePods(t *testing.T) {
	pods := threePods(t)
	var heard [3]string // frames of the connection on each pod
	var ears []*testkit.Ear
	for i, p := range pods {
		_, ear := p.arrive(t, "ada", fmt.Sprintf("1.%d", i), "news")
		ears = append(ears, ear)
	}
	hears := func(what, part string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool {
			n := 0
			for i, ear := range ears {
				if heard[i] += strings.Join(ear.Take(), ""); strings.Contains(heard[i], part) {
					n++
				}
			}
			return n == len(ears)
		})
	}
	send := func(p *pod, name, rest string) {
		want(t, p.post("events", `{"name":"`+name+`","data":"1",`+rest+`}`), 200, `{}`)
	}
	testkit.Eventually(t, "each pod hears the others", func() bool {
		n := 0
		for i, p := range pods {
			send(p, fmt.Sprintf("hello-%d", i), `"channel":"news"`)
		}
		for i, ear := range ears {
			heard[i] += strings.Join(ear.Take(), "")
			for from := range pods {
				n += min(1, strings.Count(heard[i], fmt.Sprintf("hello-%d", from)))
			}
		}
		return n == 9
	})
	send(pods[0], "excepted", `"channels":["news"],"socket_id":"1.2"`)
	send(pods[0], "for-all", `"channels":["news"]`)
	hears("an event of another pod", "for-all") // events of one pod keep their order
	for i, frames := range heard {
		if got := strings.Contains(frames, "excepted"); got == (i == 2) {
			t.Errorf("pod %d: the event came: %v", i, got)
		}
	}
	send(pods[1], "for-ada", `"channels":["#server-to-user-ada"]`)
	hears("an event for a user", "for-ada")
	want(t, pods[2].post("users/ada/terminate_connections", ``), 200, `{}`)
	for i, p := range pods {
		if calls := p.called(); len(calls) != 1 || calls[0] != portal+` "" [ada] signed in: true` {
			t.Errorf("calls of pod %d: %q", i, calls)
		}
	}
}

// silent are pods that do not all reply.
type silent struct{ asked int }

var half = cluster.Truth{Missing: []string{"x/2", "y/1"}}

func (s *silent) AllUsers(context.Context, presence.HostName, bool, presence.Per) ([]cluster.DataCenter, cluster.Truth) {
	return []cluster.DataCenter{{Name: "x", Authenticated: 2, Anonymous: 1}}, half
}

func (s *silent) Users(context.Context, presence.HostName, cluster.Scope, presence.Per, presence.Page) ([]presence.Listing, string, cluster.Truth) {
	return nil, "", half
}

func (s *silent) ChannelUsers(context.Context, presence.HostName, cluster.Scope, string, presence.Per) ([]presence.Listing, cluster.Truth) {
	return nil, half
}

func (s *silent) Channels(context.Context, presence.HostName, cluster.Scope) ([]presence.Listing, cluster.Truth) {
	return nil, half
}

func (s *silent) LastEvent(context.Context, presence.HostName, string) (presence.LastEvent, bool, cluster.Truth) {
	return presence.LastEvent{}, false, half
}

func (s *silent) Disconnect(context.Context, presence.HostName, string, *cluster.Call) (int, cluster.Truth) {
	s.asked++
	return 0, half
}

// TestIncompleteAnswers is T30 in small: an answer that lacks pods names them, or is refused.
func TestIncompleteAnswers(t *testing.T) {
	p := newPod(t)
	others := new(silent)
	p.PodsToAsk = func(*site.Site) (Pods, cluster.Truth) { return others, cluster.Truth{} }
	counted := `{"name":"e","channel":"presence-a","data":"1","info":"user_count,subscription_count"}`
	for path, test := range map[string]struct{ post, body string }{
		"connections":                         {body: `{"connections":3}`},
		"channels":                            {body: `{"channels":{}}`},
		"channels?info=subscription_count":    {body: `{"channels":{}}`},
		"channels/presence-a?info=user_count": {body: `{"occupied":false,"user_count":0}`},
		"channels/cache-a?info=cache":         {body: `{"occupied":false,"cache":null}`},
		"channels/presence-a/users":           {body: `{"users":[]}`},
		"events":                              {post: counted, body: `{"channels":{"presence-a":{"user_count":0,"subscription_count":0}}}`},
		"batch_events":                        {post: `{"batch":[` + counted + `]}`, body: `{"batch":[{"user_count":0,"subscription_count":0}]}`},
		"users/ada/terminate_connections":     {post: `{}`, body: `{}`},
	} {
		ask := query{method: "GET", body: test.post}
		if test.post != "" {
			ask.method = "POST"
		}
		name, params, _ := strings.Cut(path, "?")
		ask.path, ask.params = "/apps/3/"+name, params
		w := p.do(ask.request())
		if w.Code != 200 || w.Body.String() != test.body || w.Header().Get("Rollcall-Complete") != "false" || w.Header().Get("Rollcall-Missing") != "x/2, y/1" {
			t.Errorf("%s: status %d: %s, headers %v", path, w.Code, w.Body, w.Header())
		}
		sent := len(p.sent)
		ask.params += "&require_complete=1"
		w = p.do(ask.request())
		wantError(t, w, 503, "not every pod has replied")
		if h := w.Header(); h.Get("Retry-After") != "1" || h.Get("Rollcall-Missing") != "x/2, y/1" || len(p.sent) != sent {
			t.Errorf("%s: headers %v, %d events", path, h, len(p.sent)-sent)
		}
	}
	if others.asked != 2 {
		t.Errorf("%d disconnects", others.asked)
	}
	want(t, p.post("events", hello), 200, `{}`) // says nothing about pods
}

// crowd are pods with more users than an answer lists.
type crowd struct{ silent }

func (*crowd) Users(context.Context, presence.HostName, cluster.Scope, presence.Per, presence.Page) ([]presence.Listing, string, cluster.Truth) {
	return nil, "", cluster.Truth{Complete: true, TooMany: cluster.MaxListed + 1}
}

func TestTooManyUsersAreNotCounted(t *testing.T) {
	p := newPod(t)
	p.PodsToAsk = func(*site.Site) (Pods, cluster.Truth) { return new(crowd), cluster.Truth{} }
	ask := query{method: "GET", path: "/apps/3/channels", params: "info=subscription_count"}
	wantError(t, p.do(ask.request()), 413, "send a longer filter_by_prefix")
}
