package pusher

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestT27Requests signs requests at the border of the rules.
func TestT27Requests(t *testing.T) {
	t.Parallel()
	other := app{ID: "102", Key: "key-of-other", Secret: "secret-of-other-0123456789"}
	limits := "limits {\nframes_per_second 1000\n}"
	p := start(t, setup{apps: portal.line() + " " + host + "\n" + other.line() + " " + host, options: limits})
	at := func(offset time.Duration) func(map[string]string) {
		return func(q map[string]string) {
			q["auth_timestamp"] = strconv.FormatInt(time.Now().Add(offset).Unix(), 10)
		}
	}
	with := func(name, value string) func(map[string]string) {
		return func(q map[string]string) { q[name] = value }
	}
	without := func(name string) func(map[string]string) {
		return func(q map[string]string) { delete(q, name) }
	}
	const event = `{"name":"a","channel":"x","data":"1"}`
	mixed := app{ID: portal.ID, Key: other.Key, Secret: other.Secret}
	for _, row := range []struct {
		name   string
		r      request
		status int
	}{
		{"as it should be", request{method: "GET", path: "/channels"}, 200},
		{"599 s old", request{method: "GET", path: "/channels", change: at(-598 * time.Second)}, 200},
		{"599 s early", request{method: "GET", path: "/channels", change: at(599 * time.Second)}, 200},
		{"601 s old", request{method: "GET", path: "/channels", change: at(-602 * time.Second)}, 401},
		{"601 s early", request{method: "GET", path: "/channels", change: at(603 * time.Second)}, 401},
		{"a timestamp that is no number", request{method: "GET", path: "/channels", change: with("auth_timestamp", "now")}, 401},
		{"no timestamp", request{method: "GET", path: "/channels", change: without("auth_timestamp")}, 401},
		{"version 2.0", request{method: "GET", path: "/channels", change: with("auth_version", "2.0")}, 401},
		{"no body_md5", request{method: "POST", path: "/events", body: event, change: without("body_md5")}, 401},
		{"a wrong body_md5", request{method: "POST", path: "/events", body: event, change: with("body_md5", strings.Repeat("0", 32))}, 401},
		{"the key of another app", request{app: mixed, method: "GET", path: "/channels"}, 401},
		{"a plus sign", request{method: "GET", path: "/channels", query: map[string]string{"filter_by_prefix": "a b+c"}}, 200},
		{"a comma", request{method: "GET", path: "/channels", query: map[string]string{"filter_by_prefix": "presence-", "info": "user_count,subscription_count"}}, 200},
		{"a space in the path", request{method: "POST", path: "/users/a b/terminate_connections", body: "{}"}, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if a := p.call(t, row.r); a.Status != row.status {
				t.Errorf("status %d: %s, want %d", a.Status, a.Body, row.status)
			}
		})
	}
	// A list is signed with its values joined by commas.
	now := strconv.FormatInt(time.Now().Unix(), 10)
	auth := "auth_key=" + portal.Key + "&auth_timestamp=" + now + "&auth_version=1.0"
	for name, query := range map[string]string{
		"brackets": "info[]=user_count&info[]=subscription_count", "repeated": "info=user_count&info=subscription_count",
	} {
		signed := "GET\n/apps/101/channels/presence-x\n" + auth + "&info=user_count,subscription_count"
		path := "/apps/101/channels/presence-x?" + auth + "&" + query + "&auth_signature="
		if a := p.site.Request(t, http.MethodGet, path+portal.sign(signed), ""); a.Status != http.StatusOK {
			bracketed := strings.Replace(signed, "&info=", "&info[]=", 1) // as it is signed with its name
			if a = p.site.Request(t, http.MethodGet, path+portal.sign(bracketed), ""); a.Status != http.StatusOK {
				t.Errorf("%s: status %d: %s", name, a.Status, a.Body)
			}
		}
	}
}

// TestT29UsersOfAChannel are only there for presence channels.
func TestT29UsersOfAChannel(t *testing.T) {
	t.Parallel()
	p := start(t, setup{options: "channels {\ndefault anonymous\n}"})
	c := p.open(t)
	c.subscribe(t, "public")
	c.subscribe(t, "private-x")
	c.enter(t, "presence-x", "ada", `{"name":"Ada"}`)
	for path, status := range map[string]int{
		"/channels/public/users": 400, "/channels/empty/users": 400, "/channels/private-x/users": 400, "/channels/private-y/users": 400,
	} {
		if a := p.call(t, request{method: http.MethodGet, path: path}); a.Status != status {
			t.Errorf("%s: status %d: %s, want %d", path, a.Status, a.Body, status)
		}
	}
	if got := p.ask(t, "/channels/presence-y/users", nil); got != `{"users":[]}` {
		t.Errorf("an unoccupied presence channel: %s", got)
	}
	if diff := ws.Diff(p.ask(t, "/channels/presence-x/users", nil), `{"users":[{"id":"ada"}]}`); diff != "" {
		t.Error(diff)
	}
}

// TestT30StoppedPod makes answers incomplete, which they say.
func TestT30StoppedPod(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 2, setup{})
	for i, p := range pods {
		c := p.open(t)
		c.enter(t, "presence-x", fmt.Sprintf("user-%d", i), "")
	}
	awaitCount(t, pods[0], "presence-x", 2)
	get := request{method: http.MethodGet, path: "/channels/presence-x", query: map[string]string{"info": "user_count,subscription_count"}}
	complete := pods[0].call(t, get)
	if complete.Header.Get("Rollcall-Complete") != "true" || ws.Diff(complete.Body, `{"occupied":true,"user_count":2,"subscription_count":2}`) != "" {
		t.Errorf("with both pods: %s %v", complete.Body, complete.Header)
	}
	pods[1].signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = pods[1].cmd.Process.Signal(syscall.SIGCONT) })
	process.AwaitStopped(t, pods[1].cmd.Process.Pid)
	// An answer to the same question of a moment ago can be shared.
	ws.Poll(t, ws.Patience, func() error {
		a := pods[0].call(t, get)
		if a.Status != http.StatusOK || a.Header.Get("Rollcall-Complete") != "false" ||
			!strings.Contains(a.Header.Get("Rollcall-Missing"), pods[1].name) {
			return fmt.Errorf("with a stopped pod: %d %s %v", a.Status, a.Body, a.Header)
		}
		return nil
	})
	get.query["require_complete"] = "1"
	if a := pods[0].call(t, get); a.Status != http.StatusServiceUnavailable {
		t.Errorf("with require_complete: %d %s", a.Status, a.Body)
	}
}
