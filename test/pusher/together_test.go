package pusher

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// TestOneUserByThreeClients has Ada in a presence channel by pusher-js on the first pod, by Laravel
// Echo on the second and by client.js on the third: she is one member everywhere. When the second
// pod is killed, Ada stays, and Grace, who was only there, leaves once.
func TestOneUserByThreeClients(t *testing.T) {
	t.Parallel()
	const channel = "presence-room"
	const at = "127.0.0.1" // the host of the app: client.js has no other name of a pod
	pods := deploy(t, 3, setup{apps: portal.line() + " " + at, pusher: "client_events", options: "grace 1s"})
	for _, p := range pods {
		p.site.Host = at
	}
	backend, n := newBackend(t), newNode(t)
	clientJS, err := filepath.Abs("../../clients/js/rollcall.js")
	if err != nil {
		t.Fatal(err)
	}
	grant := token(t, "ada", jwt.MapClaims{"channels": []string{channel}})

	n.run(fmt.Sprintf(`connect("js", %s, "ada", {id: "ada"})`, pusherOptions(pods[0])))
	n.run(fmt.Sprintf(`follow("js", %q)`, channel))
	n.run(fmt.Sprintf(`echo("echoAda", %s, %q, "ada")`, pusherOptions(pods[1]), backend))
	n.run(`room("echoAda", "room")`)
	n.run(fmt.Sprintf(`echo("echoGrace", %s, %q, "grace")`, pusherOptions(pods[1]), backend))
	n.run(`room("echoGrace", "room")`)
	n.run(fmt.Sprintf(`load(%q).then(({ Rollcall }) => {
		globalThis.rc = new Rollcall({ url: "ws://%s/message/socket", getToken: () => %q });
		globalThis.seen = rc.join(%q, { presence: "list" });
		seen.on("leave", ({ id }) => note("rc", "leave " + id));
	})`, clientJS, pods[2].address, grant, channel))
	n.waitFor("client.js", `rc.state === "open"`)

	members := func(want string) {
		t.Helper()
		n.waitFor("pusher-js", fmt.Sprintf(`membersOf("js", %q) === %q`, channel, want))
		n.waitFor("client.js", fmt.Sprintf(`[...seen.members.keys()].sort().join() === %q`, want))
	}
	members("ada,grace")
	n.waitFor("Echo", fmt.Sprintf(`membersOf("echoAda", %q) === "ada,grace"`, channel))
	users := func(pods []*pod, want string) {
		t.Helper()
		for _, p := range pods {
			ws.Poll(t, ws.Patience, func() error {
				body := p.ask(t, "/channels/"+channel+"/users", nil)
				all, err := p.site.Ask("users", `{"scope":"all","channel":"`+channel+`"}`)
				if err != nil {
					return err
				}
				ids := strings.Count(all, `"id":`)
				if ws.Diff(body, want) != "" || ids != strings.Count(want, `"id":`) {
					return fmt.Errorf("%s: %s and %s, want %s", p.name, body, all, want)
				}
				return nil
			})
		}
	}
	users(pods, `{"users":[{"id":"ada"},{"id":"grace"}]}`)

	killed := time.Now()
	pods[1].kill()
	members("ada")
	if took, latest := time.Since(killed), 5*time.Second+time.Second+2*time.Second; took > latest {
		t.Errorf("Grace left after %s, want at most %s", took, latest)
	}
	users([]*pod{pods[0], pods[2]}, `{"users":[{"id":"ada"}]}`)
	for _, row := range []struct {
		what string
		want string
	}{
		{fmt.Sprintf(`happened("js", "pusher:member_removed %s grace")`, channel), "1"},
		{fmt.Sprintf(`happened("js", "pusher:member_removed %s ada")`, channel), "0"},
		{`happened("rc", "leave grace")`, "1"},
		{`happened("rc", "leave ada")`, "0"},
	} {
		if got := n.eval(row.what); got != row.want {
			t.Errorf("%s is %s, want %s", row.what, got, row.want)
		}
	}
}
