package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// signInFrame is a sign-in with the user data.
func (c *client) signInFrame(userData string) string {
	return fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%s,"user_data":%s}}`,
		quote(c.app.Key+":"+c.app.sign(c.socket+"::user::"+userData)), quote(userData))
}

func (c *client) signIn(t testing.TB, userData string) {
	t.Helper()
	c.sendRaw(t, c.signInFrame(userData))
	c.expectData(t, "pusher:signin_success", "", `{"user_data":`+quote(userData)+`}`)
}

// TestT24SignIn has good and wrong ones, and events for a user in two tabs on two pods.
func TestT24SignIn(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 2, setup{})
	first, second, bob := pods[0].open(t), pods[1].open(t), pods[1].open(t)
	member := pods[1].open(t)
	member.enter(t, "presence-x", "ada", "") // without a sign-in

	for name, text := range map[string]string{
		"signature of another user": fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%s,"user_data":"{\"id\":\"eve\"}"}}`,
			quote(portal.Key+":"+portal.sign(first.socket+"::user::"+`{"id":"ada"}`))),
		"signature of another socket": fmt.Sprintf(`{"event":"pusher:signin","data":{"auth":%s,"user_data":"{\"id\":\"ada\"}"}}`,
			quote(portal.Key+":"+portal.sign(bob.socket+"::user::"+`{"id":"ada"}`))),
		"no id":     first.signInFrame(`{"name":"Ada"}`),
		"empty id":  first.signInFrame(`{"id":""}`),
		"no object": first.signInFrame(`"ada"`),
	} {
		first.sendRaw(t, text)
		f := first.expect(t, "pusher:error", "")
		if !strings.Contains(string(f.Data), `"code":4009`) {
			t.Errorf("%s: %s", name, f.raw)
		}
	}
	first.signIn(t, `{"id":"ada","user_info":{"name":"Ada"}}`)
	first.signIn(t, `{"id":"ada","user_info":{"name":"Ada"}}`) // again
	first.sendRaw(t, first.signInFrame(`{"id":"bob"}`))
	first.expectError(t, "4009")
	second.signIn(t, `{"id":"ada"}`)
	bob.signIn(t, `{"id":"bob"}`)

	first.sendRaw(t, first.subscribeFrame("#server-to-user-bob", ""))
	if f := first.expect(t, "pusher:subscription_error", "#server-to-user-bob"); f.text() == "" {
		t.Errorf("the channel of another user: %s", f.raw)
	}
	first.sendRaw(t, first.subscribeFrame("#server-to-user-ada", ""))
	first.expectData(t, "pusher_internal:subscription_succeeded", "#server-to-user-ada", "{}")

	// The members of its presence channel come from the sign-in.
	first.sendRaw(t, first.subscribeFrame("presence-y", ""))
	first.expectData(t, "pusher_internal:subscription_succeeded", "presence-y",
		`{"presence":{"ids":["ada"],"hash":{"ada":{"name":"Ada"}},"count":1}}`)

	n := newNode(t)
	n.run(fmt.Sprintf(`(async (o) => {
		const server = new Server({ appId: o.id, key: o.key, secret: o.secret, host: o.wsHost, port: o.wsPort });
		await server.sendToUser("ada", "hello", { n: 1 });
	})(%s)`, pusherOptions(pods[0])))
	for _, c := range []*client{first, second} {
		c.expectData(t, "hello", "#server-to-user-ada", `{"n":1}`)
	}
	for _, c := range []*client{bob, member} {
		c.expectNothing(t)
	}
	for _, p := range pods {
		if got := p.site.Answer(t, "users", `{"scope":"all"}`); strings.Contains(got, "#server") {
			t.Errorf("users: %s", got)
		}
		if got := p.ask(t, "/channels", nil); strings.Contains(got, "#server") {
			t.Errorf("channels: %s", got)
		}
	}
}

// TestT25Terminate closes the tabs of a user for good.
func TestT25Terminate(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 2, setup{})
	n := newNode(t)
	for i, p := range pods {
		name := fmt.Sprintf("tab-%d", i)
		n.run(fmt.Sprintf(`connect(%q, %s, "ada", {}).signin()`, name, pusherOptions(p)))
		n.waitFor("the sign-in", fmt.Sprintf(`client(%q).user.user_data?.id === "ada"`, name))
	}
	raw, member, bob := pods[0].open(t), pods[1].open(t), pods[1].open(t)
	raw.signIn(t, `{"id":"ada"}`)
	member.enter(t, "presence-x", "ada", "")
	bob.signIn(t, `{"id":"bob"}`)

	a := pods[1].call(t, request{method: http.MethodPost, path: "/users/ada/terminate_connections", body: "{}"})
	if a.Status != http.StatusOK || a.Body != "{}" {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	raw.expectError(t, "4009")
	if frames := raw.expectClose(t, 4009); len(frames) > 0 {
		t.Errorf("frames after the error: %+v", frames)
	}
	for i := range pods {
		name := fmt.Sprintf("tab-%d", i)
		n.waitFor("the end", fmt.Sprintf(`client(%q).connection.state === "disconnected" && happened(%[1]q, "error 4009") > 0`, name))
	}
	n.run(`new Promise((resolve) => setTimeout(resolve, 2500))`) // longer than any reconnect takes
	for i := range pods {
		n.waitFor("the tab to stay away", fmt.Sprintf(`client("tab-%d").connection.state === "disconnected" && happened("tab-%[1]d", "connected") === 1`, i))
	}
	member.expectNothing(t)
	bob.expectNothing(t)
	nobody := pods[0].call(t, request{method: http.MethodPost, path: "/users/nobody/terminate_connections", body: "{}"})
	if nobody.Status != http.StatusOK || nobody.Body != "{}" {
		t.Errorf("a user without connections: status %d: %s", nobody.Status, nobody.Body)
	}
}

// TestT26Watchlist counts the first 100 of 101 users, and tells when they come and go.
func TestT26Watchlist(t *testing.T) {
	t.Parallel()
	pods := deploy(t, 2, setup{pusher: "watchlist", options: "grace 1s"})
	there := pods[1].open(t)
	there.signIn(t, `{"id":"user-7"}`)
	last := pods[1].open(t)
	last.signIn(t, `{"id":"user-100"}`) // the 101st
	awaitOnline(t, pods[0], 2)

	var ids []string
	for i := range 101 {
		ids = append(ids, fmt.Sprintf("user-%d", i))
	}
	list, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	watcher := pods[0].open(t)
	watcher.sendRaw(t, watcher.signInFrame(`{"id":"ada","watchlist":`+string(list)+`}`))
	var online, offline []string
	told := false
	for len(online)+len(offline) < 100 || !told {
		switch f := watcher.next(t); f.Event {
		case "pusher:signin_success":
		case "pusher:error":
			if told = strings.Contains(string(f.Data), `"code":4302`); !told {
				t.Fatalf("the error is %s", f.raw)
			}
		case "pusher_internal:watchlist_events":
			on, off := watchlist(t, f)
			online, offline = append(online, on...), append(offline, off...)
		default:
			t.Fatalf("an unexpected frame: %s", f.raw)
		}
	}
	if !slices.Equal(online, []string{"user-7"}) || len(offline) != 99 || slices.Contains(offline, "user-100") {
		t.Errorf("online %q, offline %q", online, offline)
	}

	expect := func(name, id string) {
		t.Helper()
		on, off := watchlist(t, watcher.expect(t, "pusher_internal:watchlist_events", ""))
		got := fmt.Sprint("online ", on, " offline ", off)
		want := fmt.Sprint("online ", []string{id}, " offline ", []string(nil))
		if name == "offline" {
			want = fmt.Sprint("online ", []string(nil), " offline ", []string{id})
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	tab := pods[1].open(t)
	tab.signIn(t, `{"id":"user-8"}`)
	expect("online", "user-8")
	second := pods[0].open(t)
	second.signIn(t, `{"id":"user-8"}`)
	tab.cut()
	second.cut()
	expect("offline", "user-8")
	there.cut()
	expect("offline", "user-7")
	last.cut()
	watcher.expectNothing(t)
}

// watchlist returns the users of watchlist events.
func watchlist(t *testing.T, f frame) (online, offline []string) {
	t.Helper()
	var data struct {
		Events []struct {
			Name    string   `json:"name"`
			UserIDs []string `json:"user_ids"`
		} `json:"events"`
	}
	if err := json.Unmarshal([]byte(f.text()), &data); err != nil {
		t.Fatalf("%v: %s", err, f.raw)
	}
	for _, e := range data.Events {
		switch {
		case e.Name == "online" && len(e.UserIDs) > 0:
			online = append(online, e.UserIDs...)
		case e.Name == "offline" && len(e.UserIDs) > 0:
			offline = append(offline, e.UserIDs...)
		default:
			t.Fatalf("a watchlist event is %+v", e)
		}
	}
	return online, offline
}

// awaitOnline waits until a pod knows n users over all pods.
func awaitOnline(t *testing.T, p *pod, n int) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		got, err := p.site.Ask("allusers", `{}`)
		if err == nil && !strings.Contains(got, fmt.Sprintf(`"_total":{"authenticated":%d,`, n)) {
			err = fmt.Errorf("allusers: %s, want %d", got, n)
		}
		return err
	})
}
