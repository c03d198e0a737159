package pusher

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

func TestEchoInNode(t *testing.T) {
	t.Parallel()
	testEcho(t, newNode(t), newBackend(t))
}

func TestEchoInChromium(t *testing.T) {
	t.Parallel()
	backend := newBackend(t)
	testEcho(t, newPage(t, backend), backend)
}

// testEcho uses Laravel Echo as a page does, with Ada and Bob in one page: private, presence,
// encrypted and cache channels, whispers, errors, and a restart of the server.
func testEcho(t *testing.T, s script, backend string) {
	t.Helper()
	config := setup{pusher: "client_events", options: "grace 2s\norigins " + backend + "\nchannels {\ndefault anonymous\n}"}
	p := start(t, config)
	server := newNode(t) // with the server library
	server.run(fmt.Sprintf(`(async (o) => {
		globalThis.server = new Server({ appId: o.id, key: o.key, secret: o.secret, host: o.wsHost, port: o.wsPort,
			encryptionMasterKeyBase64: Buffer.from(%q).toString("base64") });
	})(%s)`, masterKey, pusherOptions(p)))
	trigger := func(channel, event, data string) {
		t.Helper()
		server.run(fmt.Sprintf(`server.trigger(%q, %q, %s)`, channel, event, data))
	}
	noted := func(name, what string) {
		t.Helper()
		s.waitFor(name+" to note "+what, fmt.Sprintf(`happened(%q, %s) === 1`, name, quote(what)))
	}
	for _, name := range []string{"ada", "bob", "eve"} {
		s.run(fmt.Sprintf(`echo(%q, %s, %q, %[1]q)`, name, pusherOptions(p), backend))
	}

	// A private channel, and an event without a namespace.
	s.run(`ada.private("orders").listen(".created", as("ada", "created")).listenForWhisper("typing", as("ada", "typing"))`)
	s.run(`bob.private("orders").listenForWhisper("typing", as("bob", "typing"))`)
	s.waitFor("the private channels", `client("ada").channel("private-orders").subscribed && client("bob").channel("private-orders").subscribed`)
	trigger("private-orders", "created", `{id: 7}`)
	noted("ada", `created {"id":7}`)
	s.run(`ada.private("orders").whisper("typing", {name: "Ada"})`)
	noted("bob", `typing {"name":"Ada"}`)

	// A presence channel: nobody is told of oneself.
	s.run(`room("ada", "room")`)
	noted("ada", "here ada")
	s.run(`room("bob", "room").listenForWhisper("typing", as("bob", "typing in the room"))`)
	noted("bob", "here ada,bob")
	noted("ada", "joining bob")
	s.run(`ada.join("room").whisper("typing", {name: "Ada"})`)
	noted("bob", `typing in the room {"name":"Ada"}`)
	s.run(`bob.leave("room")`)
	noted("ada", "leaving bob")
	for _, wrong := range []string{"joining ada", "leaving ada", `typing {"name":"Ada"}`} {
		if got := s.eval(fmt.Sprintf(`happened("ada", %s)`, quote(wrong))); got != "0" {
			t.Errorf("Ada noted %s", wrong)
		}
	}

	// An encrypted channel.
	s.run(`ada.encryptedPrivate("secret").listen(".told", as("ada", "told"))`)
	s.waitFor("the encrypted channel", `client("ada").channel("private-encrypted-secret").subscribed`)
	trigger("private-encrypted-secret", "told", `{text: "secret"}`)
	noted("ada", `told {"text":"secret"}`)

	// A cache channel: Ada is told that there is nothing, and Bob gets the last event.
	s.run(`ada.private("cache-price").on("pusher:cache_miss", as("ada", "miss")).listen(".price", as("ada", "price"))`)
	s.waitFor("the miss", `noted.get("ada").some((what) => what.startsWith("miss "))`)
	trigger("private-cache-price", "price", `{n: 1}`)
	noted("ada", `price {"n":1}`)
	s.run(`bob.private("cache-price").listen(".price", as("bob", "price"))`)
	noted("bob", `price {"n":1}`)

	// T15: the page hears of a wrong signature.
	s.run(`eve.private("orders").error(({ type, status }) => note("eve", type + " " + status))`)
	noted("eve", "AuthError 401")
	s.run(`eve.join("room").error(({ type, status }) => note("eve", "room " + type + " " + status))`)
	noted("eve", "room AuthError 401")

	// The server restarts: all comes back by itself.
	p.signal(t, syscall.SIGTERM)
	<-p.ended
	s.waitFor("the loss", `client("ada").connection.state !== "connected"`)
	p.run(t, config)
	s.waitFor("Ada to be back", `happened("ada", "connected") === 2 && happened("ada", "here ada") === 2`)
	s.waitFor("the private channel", `client("ada").channel("private-orders").subscribed`)
	ws.Poll(t, ws.Patience, func() error {
		trigger("private-orders", "created", `{id: 8}`)
		if s.eval(`happened("ada", 'created {"id":8}') > 0`) != "true" {
			return fmt.Errorf("no event after the restart")
		}
		return nil
	})
}

// TestT15EchoErrors is a part of [TestEchoInNode] and [TestEchoInChromium]; here the backend of the
// page refuses, and the server is not asked.
func TestT15EchoErrors(t *testing.T) {
	t.Parallel()
	backend := newBackend(t)
	p, s := start(t, setup{}), newNode(t)
	s.run(fmt.Sprintf(`echo("eve", %s, %q, "eve")`, pusherOptions(p), backend))
	s.run(`eve.private("x").error(({ type, error, status }) => note("eve", [type, typeof error, status].join(" ")))`)
	s.waitFor("the error", `happened("eve", "AuthError string 401") === 1`)
	s.run(fmt.Sprintf(`echo("lost", %s, %q, "ada")`, pusherOptions(p), backend+"/nowhere"))
	s.run(`lost.private("x").error(({ type, status }) => note("lost", [type, status].join(" ")))`)
	s.waitFor("the error of the backend", `happened("lost", "AuthError 404") === 1`)
}
