package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// copyTaker is a backend that records messages, and can be down.
type copyTaker struct {
	mu     sync.Mutex
	down   bool
	failed int
	took   map[string][]string // messages by channel, each id once
	modes  map[string]string   // by channel
	ids    map[string]bool
}

func (c *copyTaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var copied struct {
		ID, Host, Channel, Mode string
		From                    struct{ ID string }
		Message                 struct{ N string }
	}
	if err := json.NewDecoder(r.Body).Decode(&copied); err != nil || r.Header.Get("Webhook-Signature") == "" ||
		r.Header.Get("Webhook-Id") != copied.ID || copied.Host != "portal.example.com" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		c.failed++
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !c.ids[copied.ID] {
		c.ids[copied.ID] = true
		c.took[copied.Channel] = append(c.took[copied.Channel], copied.From.ID+" "+copied.Message.N)
		c.modes[copied.Channel] = copied.Mode
	}
}

func (c *copyTaker) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *copyTaker) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *copyTaker) of(channel string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.took[channel])
}

// A user's messages go where the mode of the assignment says. A backend that was down for a while
// gets all of them, in order.
func TestMessagesAreCopiedToTheBackendByMode(t *testing.T) {
	taker := &copyTaker{took: make(map[string][]string), modes: make(map[string]string), ids: make(map[string]bool)}
	server := httptest.NewServer(taker)
	defer server.Close()
	load(t, portal(jwtOptions+fmt.Sprintf("backend %s/hook {\n secret 0123456789abcdef0123\n }\nlimits {\n frames_per_second 100000\n }\n", server.URL)))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	assigned(t, portalHost, "adduser", `[{"id":"USER_1","channels":[{"name":"ignored"},{"name":"copied","mode":"listen"},{"name":"kept","mode":"receive"}]}]`)

	sender := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	for _, channel := range []string{"copied", "ignored", "kept"} { // in the order of their names
		sender.Expect(t, fmt.Sprintf(`{"type":"joined","channel":%q,"kind":"authenticated"}`, channel))
	}
	listener := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	for _, channel := range []string{"ignored", "copied", "kept"} {
		listener.Join(t, channel)
	}
	sent := 0
	say := func(channel string) (frame string) {
		sent++
		sender.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"n":"%d"}}`, channel, sent))
		return fmt.Sprintf(`{"type":"message","channel":%q,"from":%s,"message":{"n":"%d"}}`, channel, user1, sent)
	}
	var kept, copied []string
	for i := range 50 {
		switch i {
		case 10:
			taker.set(true)
		case 40: // attempts have failed; the backend is back
			ws.Poll(t, ws.Patience, func() error {
				if taker.failures() == 0 {
					return fmt.Errorf("nothing was tried")
				}
				return nil
			})
			taker.set(false)
		}
		listener.Expect(t, say("ignored"))
		listener.Expect(t, say("copied"))
		copied = append(copied, fmt.Sprintf("USER_1 %d", sent))
		say("kept")
		kept = append(kept, fmt.Sprintf("USER_1 %d", sent))
	}
	listener.ExpectNothing(t)
	ws.Poll(t, 3*ws.Patience, func() error {
		for channel, want := range map[string][]string{"kept": kept, "copied": copied, "ignored": nil} {
			if got := taker.of(channel); !slices.Equal(got, want) {
				return fmt.Errorf("the backend has %q of %s, want %q", got, channel, want)
			}
		}
		return nil
	})
	if taker.modes["copied"] != "listen" || taker.modes["kept"] != "receive" {
		t.Errorf("the modes are %v", taker.modes)
	}
}

// Without a backend, messages for it alone are refused, and others go to the listeners.
func TestMessagesForABackendThatIsNotThere(t *testing.T) {
	load(t, portal(jwtOptions))
	forgetAssignments(t, `[{"id":"USER_1"}]`)
	assigned(t, portalHost, "adduser", `[{"id":"USER_1","channels":[{"name":"copied","mode":"listen"},{"name":"kept","mode":"receive"}]}]`)
	sender := portalHost.Dial(t, login(t, "USER_1", "a@example.com")...)
	sender.Expect(t, `{"type":"joined","channel":"copied","kind":"authenticated"}`)
	sender.Expect(t, `{"type":"joined","channel":"kept","kind":"authenticated"}`)
	sender.Send(t, `{"type":"send","channels":["kept"],"message":{},"id":1}`)
	sender.ExpectError(t, "1", "unavailable")
	sender.Send(t, `{"type":"send","channels":["copied","kept"],"message":{},"id":2}`)
	sender.ExpectError(t, "2", "unavailable")
	listener := portalHost.Dial(t, login(t, "USER_2", "b@example.com")...)
	listener.Join(t, "copied")
	sender.Send(t, `{"type":"send","channels":["copied"],"message":{},"id":3}`)
	listener.Expect(t, `{"type":"message","channel":"copied","from":`+user1+`,"message":{}}`)
}
