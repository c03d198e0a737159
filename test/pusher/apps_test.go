package pusher

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestT03AppOfOneHost asks the API by another name than the client, and both by another name than
// that of the app's host.
func TestT03AppOfOneHost(t *testing.T) {
	t.Parallel()
	p := start(t, setup{
		apps:    portal.line() + " tenant.example.com",
		options: "channels {\ndefault anonymous\n}",
	})
	conn, resp := ws.Open(t, ws.Request{
		URL: "ws://" + p.address + "/app/" + portal.Key + plainQuery, Host: "127.0.0.1", Protocols: []string{},
	})
	if conn == nil {
		t.Fatalf("status %s", resp.Status)
	}
	c := &client{conn: conn, app: portal}
	c.expect(t, "pusher:connection_established", "")
	c.subscribe(t, "news")
	body := `{"name":"hello","channel":"news","data":"1"}`
	if a := p.call(t, request{method: http.MethodPost, path: "/events", body: body, host: host}); a.Status != http.StatusOK {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	c.expectData(t, "hello", "news", "1")
	c.expectNothing(t)
	if diff := ws.Diff(p.ask(t, "/channels", nil), `{"channels":{"news":{}}}`); diff != "" {
		t.Error(diff)
	}
	p.site.Expect(t, "users", `{}`, `{}`) // another host
}

// TestT04ReloadWithAnotherSecret reloads while pusher-js holds many connections.
func TestT04ReloadWithAnotherSecret(t *testing.T) {
	t.Parallel()
	const many = 2000
	p := start(t, setup{options: "limits {\nframes_per_second 1000\n}"})
	n := newNode(t)
	n.run(fmt.Sprintf(`connectMany(%d, %s)`, many, pusherOptions(p)))
	n.waitFor("all connections", fmt.Sprintf(`inState("connected") === %d`, many))

	next := app{ID: portal.ID, Key: "key-of-the-rotation", Secret: "secret-of-the-rotation-0123456789"}
	changed := app{ID: portal.ID, Key: portal.Key, Secret: "another-secret-0123456789-0123456789"}
	private := func(a app) error {
		c := p.openApp(t, a, plainQuery, nil)
		c.sendRaw(t, c.subscribeFrame("private-x", ""))
		if f := c.next(t); f.Event != "pusher_internal:subscription_succeeded" {
			return fmt.Errorf("%s", f.raw)
		}
		return nil
	}
	publish := func(a app) int {
		return p.call(t, request{app: a, method: http.MethodPost, path: "/events", body: `{"name":"hello","channel":"private-x","data":"1"}`}).Status
	}
	if err := private(portal); err != nil {
		t.Errorf("before the reload: %v", err)
	}

	p.reload(t, setup{apps: portal.line() + " " + host + "\n" + next.line() + " " + host})
	for _, a := range []app{portal, next} {
		if err := private(a); err != nil {
			t.Errorf("with both keys, %s: %v", a.Key, err)
		}
		if status := publish(a); status != http.StatusOK {
			t.Errorf("with both keys, %s: the API answers %d", a.Key, status)
		}
	}

	p.reload(t, setup{apps: changed.line() + " " + host})
	old := app{ID: portal.ID, Key: portal.Key, Secret: portal.Secret}
	if err := private(old); err == nil {
		t.Error("a signature with the old secret is accepted")
	}
	if status := publish(old); status != http.StatusUnauthorized {
		t.Errorf("a request signed with the old secret is answered with %d, want 401", status)
	}
	if err := private(changed); err != nil {
		t.Errorf("with the new secret: %v", err)
	}
	if status := publish(changed); status != http.StatusOK {
		t.Errorf("the API with the new secret answers %d", status)
	}

	n.run(`pingAll()`)
	n.waitFor("an answer to all pings", fmt.Sprintf(`pongs() === %d`, many))
	if got := n.eval(`drops()`); got != "0" {
		t.Errorf("%s connections were closed", got)
	}

	p.reload(t, setup{apps: "app 999 key-of-nine secret-of-nine-0123456789"})
	n.waitFor("the connections to end for good", fmt.Sprintf(`inState("disconnected") === %d`, many))
	if got := n.eval(`Object.keys(errorCodes()).join()`); got != `"4001"` {
		t.Errorf("the codes after the app is removed: %s", got)
	}
}
