package caddymodule

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// askAdmin sends a request to the admin endpoints. It returns the status, and the body or the
// error.
func askAdmin(t *testing.T, method, uri, body string) (int, string) {
	t.Helper()
	w, err := serveAdminRoute(t, method, uri, body)
	if refused, ok := errors.AsType[caddy.APIError](err); ok {
		return refused.HTTPStatus, refused.Err.Error()
	}
	return w.Code, strings.TrimSuffix(w.Body.String(), "\n")
}

func TestAdminLists(t *testing.T) {
	c := offerAlone(t)
	h := c.handler(t)
	arrive(t, h, "portal.example.com", "ada", "ada@example.com", "salesRoom", "attic")
	arrive(t, h, "portal.example.com", "ada", "", "salesRoom")
	arrive(t, h, "portal.example.com", "grace", "g@example.com", "salesRoom")
	arrive(t, h, "portal.example.com", "", "", "anonymousChat")
	const host = "?host=portal.example.com"
	for _, tt := range []struct{ uri, want string }{
		{"/rollcall/channels" + host, `{"host":"portal.example.com","complete":true,"missing":[],"channels":[` +
			`{"channel":"anonymousChat","kind":"anonymous","count":1,"counts":"connections"},` +
			`{"channel":"attic","kind":"authenticated","count":1,"counts":"users"},` +
			`{"channel":"salesRoom","kind":"authenticated","count":2,"counts":"users"}],"hidden":0}`},
		{"/rollcall/channels" + host + "&limit=1", `{"host":"portal.example.com","complete":true,"missing":[],"channels":[` +
			`{"channel":"anonymousChat","kind":"anonymous","count":1,"counts":"connections"}],"hidden":0,"next":"anonymousChat"}`},
		{"/rollcall/channels" + host + "&limit=1&after=attic", `{"host":"portal.example.com","complete":true,"missing":[],"channels":[` +
			`{"channel":"salesRoom","kind":"authenticated","count":2,"counts":"users"}],"hidden":0}`},
		{"/rollcall/channels" + host + "&prefix=at", `{"host":"portal.example.com","complete":true,"missing":[],"channels":[` +
			`{"channel":"attic","kind":"authenticated","count":1,"counts":"users"}],"hidden":0}`},
	} {
		if status, got := askAdmin(t, http.MethodGet, tt.uri, ""); status != http.StatusOK || got != tt.want {
			t.Errorf("%s: status %d\n got %s\nwant %s", tt.uri, status, got, tt.want)
		}
	}
	var users operator.Users
	decode(t, getAdmin(t, "/rollcall/users"+host+"&channel=salesRoom"), &users)
	if users.Channel == nil || users.Channel.Count != 2 || len(users.Users) != 2 || string(users.Users[0].User) != `{"id":"ada"}` ||
		len(users.Users[0].Connections) != 2 || users.Users[0].Connections[0].Pod != "web-1" || users.Next != "" {
		t.Errorf("users %+v", users)
	}
	decode(t, getAdmin(t, "/rollcall/users"+host+"&limit=1"), &users)
	if len(users.Users) != 1 || users.Next != "ada" {
		t.Errorf("users of the host %+v", users)
	}
	var hosts operator.Hosts
	decode(t, getAdmin(t, "/rollcall/hosts?scope=all"), &hosts)
	if len(hosts.Hosts) != 1 || hosts.Hosts[0].Connections != 4 || hosts.Hosts[0].Pods[0].Users != 2 || hosts.Hosts[0].Pods[0].Channels != 3 {
		t.Errorf("hosts %+v", hosts)
	}
	for uri, want := range map[string]int{
		"/rollcall/channels": 400, "/rollcall/channels?host=a%20b": 400, "/rollcall/channels" + host + "&limit=0": 400,
		"/rollcall/channels" + host + "&limit=x": 400, "/rollcall/channels?host=elsewhere.example": 404,
		"/rollcall/users?host=elsewhere.example": 404, "/rollcall/users" + host + "&channel=nothing": 404, "/rollcall/users": 400,
		"/rollcall/hosts?scope=dc": 400,
	} {
		if status, got := askAdmin(t, http.MethodGet, uri, ""); status != want {
			t.Errorf("%s: status %d, %s", uri, status, got)
		}
	}
}

func TestAdminActions(t *testing.T) {
	c := offerAlone(t)
	arrive(t, c.handler(t), "portal.example.com", "ada", "", "salesRoom")
	const host = "?host=portal.example.com"
	for _, tt := range []struct {
		uri, body string
		status    int
		want      string
	}{
		{"/rollcall/sendmessage" + host, `{"channels":["salesRoom"],"message":{"a":1}}`, 200, `{"complete":true,"missing":[],"answer":{"channels":["salesRoom"],"message":{"a":1}}}`},
		{"/rollcall/sendmessage" + host, `{"channels":["salesRoom"],"message":1}`, 400, "message must be an object"},
		{"/rollcall/sendmessage" + host, `{`, 400, "the body is not a JSON object"},
		{"/rollcall/sendmessage" + host, strings.Repeat(" ", 1<<20+1), 413, "the body is over 1024 KiB"},
		{"/rollcall/sendmessage", `{}`, 400, "host: "},
		{"/rollcall/leave" + host, `{"users":["ada"],"channels":["salesRoom"]}`, 200, `{"complete":true,"missing":[],"answer":{"left":1}}`},
		{"/rollcall/disconnect" + host, `{"users":["nobody"]}`, 200, `{"complete":true,"missing":[],"answer":{"disconnected":0}}`},
		{"/rollcall/disconnect?host=elsewhere.example", `{"users":["ada"]}`, 404, "no site serves this host"},
		{"/rollcall/plugins/reset", `{"plugin":"mask","host":"portal.example.com"}`, 404, "this pod uses no such plugin for this host"},
		{"/rollcall/plugins/reset", `{}`, 400, `the body names no plugin: send {"plugin":"NAME","host":"HOST"}`},
	} {
		status, got := askAdmin(t, http.MethodPost, tt.uri, tt.body)
		if status != tt.status || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %.40s: status %d, %s", tt.uri, tt.body, status, got)
		}
		if status, _ := askAdmin(t, http.MethodGet, tt.uri, ""); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d", tt.uri, status)
		}
	}
}

// Without Rollcall in the configuration, there are no hosts.
func TestAdminListsWithoutRollcall(t *testing.T) {
	if loadedProcess() != nil {
		t.Fatal("another test has left the process open")
	}
	for uri, want := range map[string]int{"/rollcall/hosts?scope=all": 200, "/rollcall/channels?host=a.example": 404, "/rollcall/users?host=a.example": 404} {
		if status, got := askAdmin(t, http.MethodGet, uri, ""); status != want {
			t.Errorf("%s: status %d, %s", uri, status, got)
		}
	}
	for _, uri := range []string{"/rollcall/leave?host=a.example", "/rollcall/plugins/reset"} {
		if status, got := askAdmin(t, http.MethodPost, uri, `{"plugin":"x"}`); status != 404 {
			t.Errorf("%s: status %d, %s", uri, status, got)
		}
	}
}

// Operators see both pods as one, over real routes.
func TestAdminListsOfTwoPods(t *testing.T) {
	address := loopback.AddressFor(t)
	c := mustLoad(t, clustered("listen "+address+"\nsecret "+clusterSecret))
	stage(t, c.app.hub, c.app.hub.StartPods)
	s := c.snapshot()
	c.app.hub.Offer(s)
	t.Cleanup(func() { c.app.hub.TakeBack(s) })
	other := startOther(t, "eu-west-1", "web-2", address)
	other.arrive(t, "ada", "ada@example.com", "room")
	arrive(t, c.handler(t), "portal.example.com", "grace", "grace@example.com", "room")
	testkit.Eventually(t, "both pods are in the hosts", func() bool {
		var hosts operator.Hosts
		decode(t, getAdmin(t, "/rollcall/hosts?scope=all"), &hosts)
		return hosts.Complete && len(hosts.Hosts) == 1 && len(hosts.Hosts[0].Pods) == 2 && hosts.Hosts[0].Connections == 2
	})
	var users operator.Users
	decode(t, getAdmin(t, "/rollcall/users?host=portal.example.com&channel=room"), &users)
	if !users.Complete || len(users.Users) != 2 || users.Users[0].Connections[0].Pod != "web-2" || users.Users[1].Connections[0].Pod != "web-1" ||
		users.Channel.Count != 2 {
		t.Errorf("users %+v", users)
	}
	var channels operator.ChannelList
	decode(t, getAdmin(t, "/rollcall/channels?host=portal.example.com"), &channels)
	if !channels.Complete || len(channels.Channels) != 1 || channels.Channels[0].Count != 2 {
		t.Errorf("channels %+v", channels)
	}
}
