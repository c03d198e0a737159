package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// checkHooks builds testdata/hooks with a version of React, in strict mode and for development, and
// lets Rollcall's own site serve it.
func checkHooks(t *testing.T, d demo, browser context.Context, installed, version, folder string) {
	project := newProject(t, installed, "testdata/hooks", "react="+folder, "react-dom="+folder)
	cmd := exec.Command("node", filepath.Join(packages(t), "vite/bin/vite.js"), "build", "--mode", "development")
	cmd.Dir, cmd.Env = project, append(os.Environ(), "NODE_ENV=development")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("vite build: %v\n%s", err, out)
	}
	d.reload(t, "root examples/demo", "root "+filepath.Join(project, "dist"))
	query := url.Values{}
	for _, user := range []string{"ada", "bob"} {
		query.Set(user, sign(t, user, time.Hour))
	}
	p := openTab(t, browser, d.url+"/?"+query.Encode())
	defer p.close()
	do := func(call string) {
		t.Helper()
		p.run(chromedp.Evaluate[chromedp.Void]("void " + call))
	}
	expect := func(what, expression string, want any) {
		t.Helper()
		wanted, _ := json.Marshal(want)
		if got := get(p, chromedp.Evaluate[string](`JSON.stringify(`+expression+`)`)); got != string(wanted) {
			t.Errorf("%s: %s, want %s", what, got, wanted)
		}
	}
	show := func(id, want string) {
		t.Helper()
		p.waitFor(id+": "+want, fmt.Sprintf("text(%q) === %q", id, want))
	}

	p.waitFor("Bob", `globalThis.room?.synced`)
	if got := get(p, chromedp.Evaluate[string](`version`)); !strings.HasPrefix(got, version+".") {
		t.Fatalf("this is React %s, want %s", got, version)
	}
	do(`show("login", "a", "b", "chat")`)
	show("a", "ada,bob 2 true")
	show("b", "ada,bob 2 true")
	show("chat", "true undefined authenticated ")
	show("login", "open ada")
	expect("connections of a page in strict mode", `sockets.length`, 2)
	expect("effects of two lists in strict mode", `effects()`, 4)
	expect("joins of three components", `count("join")`, 1)

	do(`show("login", "b", "chat")`) // the first one unmounts
	do(`room.send({ text: "one" })`)
	show("chat", "true undefined authenticated one")
	do(`room.send({ text: "two" })`)
	show("chat", "true undefined authenticated one,two")
	expect("messages", `heard`, []string{"0 bob: one", "1 bob: two"})
	do(`send({ text: "three" })`)
	show("chat", "true undefined authenticated one,two,three")
	expect("leaves while a component is there", `count("leave")`, 0)
	expect("what Bob saw", `seen`, []string{"join ada"})

	do(`show("login", "rooms")`)
	p.waitFor("Bob to see that Ada left", `seen.join() === "join ada,leave ada"`)
	expect("leaves", `count("leave")`, 1)
	expect("channels", `own.channels.size`, 0)
	show("rooms", " null false")

	// On a connection that is open, effects that run twice neither leave nor join again.
	do(`show("login", "rooms", "a", "count")`)
	show("a", "ada,bob 2 true")
	show("count", "0 2")
	expect("joins", `count("join")`, 2)
	expect("leaves", `count("leave")`, 1)
	expect("what Bob saw", `seen`, []string{"join ada", "leave ada", "join ada"})

	// A component that changes rooms shows nothing of the last one.
	do(`go("lobby-1")`)
	show("rooms", " 1 true")
	do(`go("salesRoom")`)
	show("rooms", "ada,bob 2 true")
	p.waitFor("the lobby to be left", `count("leave", "lobby-1") === 1 && own.channels.size === 1`)

	// The connection is lost, and comes back.
	do(`sockets.at(-1).close()`)
	p.waitFor("another connection", `sockets.length === 3`)
	show("login", "open ada")
	show("a", "ada,bob 2 true")
	show("rooms", "ada,bob 2 true")

	do(`hide()`)
	p.waitFor("the connection to close", `sockets.slice(1).every((s) => s.readyState === WebSocket.CLOSED)`)
	p.waitFor("Bob alone", `room.members.size === 1`)
	expect("connections", `sockets.length`, 3)
	do(`show("login", "a")`)
	show("a", "ada,bob 2 true")
	expect("connections after mounting again", `sockets.length`, 4)
	do(`hide()`)

	// What needs a login is joined after it.
	do(`(user = "nobody")`)
	do(`show("login", "chat")`)
	show("login", "open undefined")
	show("chat", "false login_required null ")
	do(`own.authenticate(token("ada"))`)
	show("login", "open ada")
	show("chat", "true undefined authenticated ")
}
