package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// fake answers as operator and pod.
type fake struct {
	mu      sync.Mutex
	hosts   operator.Hosts
	asked   int      // calls of Hosts
	actions []string // by, host, name and body of each
	reports []plugins.Report
	calls   []pluginhost.Calls
}

func (f *fake) Hosts(context.Context, func(presence.HostName) bool) operator.Hosts {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.hosts
}

func (f *fake) Channels(_ context.Context, host presence.HostName, page presence.Page) (operator.ChannelList, error) {
	list := operator.ChannelList{Host: host.String(), Truth: operator.Truth{Missing: []string{"dc/silent"}}, Channels: []operator.Channel{}}
	for i := range page.Limit {
		list.Channels = append(list.Channels, operator.Channel{Channel: fmt.Sprint(page.Prefix, i), Kind: "anonymous", Counts: "connections"})
	}
	return list, nil
}

func (f *fake) Users(context.Context, presence.HostName, string, string, int) (operator.Users, error) {
	return operator.Users{}, operator.ErrNoChannel
}

func (f *fake) User(context.Context, presence.HostName, string) (operator.Found, error) {
	return operator.Found{}, operator.ErrPluginFailed
}

func (f *fake) Act(_ context.Context, by string, host presence.HostName, name string, body []byte) (operator.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.Contains(string(body), "refuse") {
		return operator.Result{}, &api.ActError{Problem: problem.BadValue("refused")}
	}
	f.actions = append(f.actions, fmt.Sprintf("%s %s %s %s", by, host, name, body))
	return operator.Result{Truth: operator.Truth{Complete: true}, Answer: json.RawMessage(`{"left":1}`)}, nil
}

func (f *fake) ResetBreaker(by, plugin, host string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.actions = append(f.actions, fmt.Sprintf("%s %s reset %s", by, host, plugin))
	return nil
}

func (f *fake) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.actions
}

func (f *fake) NamedHosts() []presence.HostName {
	named, _ := presence.ParseHostName("named.example.com")
	a, _ := presence.ParseHostName("a.example.com")
	return []presence.HostName{named, a}
}

func (f *fake) Traffic(wanted func(string) bool) (list []gateway.Traffic) {
	for i := range 120 {
		if host := fmt.Sprintf("h%03d.example.com", i); wanted(host) {
			list = append(list, gateway.Traffic{Host: host})
		}
	}
	if wanted(pluginhost.OtherHosts) {
		list = append(list, gateway.Traffic{Host: pluginhost.OtherHosts})
	}
	return list
}

func (f *fake) Queues(wanted func(string) bool, _ int) (copied, events []gateway.Queue) {
	if wanted("a.example.com") {
		copied = append(copied, gateway.Queue{Host: "a.example.com"})
	}
	return copied, events
}

func (f *fake) ClusterReport(context.Context) cluster.Report {
	return cluster.Report{Pods: []cluster.PodReport{{DataCenter: "dc", Pod: "one", State: "self", Connections: 77, Hosts: 7}}}
}

func (f *fake) PluginReports() []plugins.Report { return f.reports }
func (f *fake) PluginCalls() []pluginhost.Calls { return f.calls }

// scene is a console of a fake.
type scene struct {
	*fake
	server *Server
	visit  Visit
	url    string
}

// newScene returns a console that shows all hosts, under /console.
func newScene(t *testing.T) *scene {
	t.Helper()
	f := new(fake)
	s := &scene{fake: f, server: New(Config{Operator: f, Pod: f, Draining: func() bool { return false }}), visit: Visit{
		User: "ada", Client: "192.0.2.1", All: true, Sees: func(presence.HostName) bool { return true },
		Loads: func(*plugins.Report) bool { return true }, Alone: func(*plugins.Report) bool { return true },
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.server.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/console"), s.visit) {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL + "/console"
	return s
}

// get requests a path. Its answer is closed with the test.
func (s *scene) get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// view returns the first snapshot of a stream, as JSON, and closes the stream.
func (s *scene) view(t *testing.T, query string) string {
	t.Helper()
	resp := s.get(t, "/events?"+query)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line != "event: view\n" {
			continue
		}
		data, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(strings.TrimSuffix(data, "\n"), "data: ")
	}
}
