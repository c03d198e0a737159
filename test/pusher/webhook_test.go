package pusher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// delivery is a request of a webhook.
type delivery struct {
	header http.Header
	body   string
}

// receiver notes the webhooks that it gets.
type receiver struct {
	url    string
	refuse atomic.Bool // answers 503
	mu     sync.Mutex
	got    []delivery // guarded by mu
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := new(receiver)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.isDown(w) {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, delivery{req.Header.Clone(), string(body)})
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) deliveries() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// names returns the events so far, sorted: "NAME CHANNEL USER".
func (r *receiver) names() []string {
	var names []string
	for _, d := range r.deliveries() {
		var body struct {
			Events []struct {
				Name    string
				Channel string
				UserID  string `json:"user_id"`
			}
		}
		_ = json.Unmarshal([]byte(d.body), &body)
		for _, e := range body.Events {
			names = append(names, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Name, e.Channel, e.UserID)))
		}
	}
	slices.Sort(names)
	return names
}

func (r *receiver) await(t *testing.T, name string) {
	t.Helper()
	testkit.Eventually(t, "the webhook "+name, func() bool { return slices.Contains(r.names(), name) })
}

// TestT31WebhooksAreGenuine verifies the bodies with the server library, also of a receiver that
// gets some events only.
func TestT31WebhooksAreGenuine(t *testing.T) {
	t.Parallel()
	all, some := newReceiver(t), newReceiver(t)
	p := start(t, setup{
		pusher: "client_events\nwebhook " + all.url + " {\nevents member_added member_removed channel_occupied channel_vacated client_event\n}\n" +
			"webhook " + some.url + " {\nevents channel_vacated\n}",
		options: "grace 1s",
	})
	ada, bob := p.open(t), p.open(t)
	ada.enter(t, "presence-x", "ada", "")
	bob.enter(t, "presence-x", "bob", "")
	ada.sendRaw(t, clientEvent("client-hello", "presence-x", `{"n":1}`))
	all.await(t, "client_event presence-x ada")
	ada.cut()
	bob.cut()
	all.await(t, "channel_vacated presence-x")
	some.await(t, "channel_vacated presence-x")
	want := []string{
		"channel_occupied presence-x", "channel_vacated presence-x", "client_event presence-x ada",
		"member_added presence-x ada", "member_added presence-x bob",
		"member_removed presence-x ada", "member_removed presence-x bob",
	}
	if got := all.names(); !slices.Equal(got, want) {
		t.Errorf("the events are %q, want %q", got, want)
	}
	if got := some.names(); !slices.Equal(got, want[1:2]) {
		t.Errorf("the chosen events are %q, want %q", got, want[1:2])
	}

	n := newNode(t)
	for _, d := range slices.Concat(all.deliveries(), some.deliveries()) {
		if got := d.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("the content type is %q", got)
		}
		headers, err := json.Marshal(map[string]string{
			"x-pusher-key": d.header.Get("X-Pusher-Key"), "x-pusher-signature": d.header.Get("X-Pusher-Signature"),
			"content-type": d.header.Get("Content-Type"),
		})
		if err != nil {
			t.Fatal(err)
		}
		valid := func(body string) string {
			return n.eval(fmt.Sprintf(`(() => {
				const server = new Server({ appId: %q, key: %q, secret: %q });
				const hook = server.webhook({ headers: %s, rawBody: %s });
				return hook.isValid() && hook.getEvents().length > 0 && hook.getTime() instanceof Date;
			})()`, portal.ID, portal.Key, portal.Secret, headers, quote(body)))
		}
		if valid(d.body) != "true" {
			t.Errorf("the library refuses %s with %s", d.body, headers)
		}
		if valid(d.body+" ") != "false" {
			t.Errorf("the library accepts a changed body")
		}
	}
}
