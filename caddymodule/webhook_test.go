package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/hooks"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

func TestWebhookOptionsThatAreRefused(t *testing.T) {
	const hook = "webhook https://app.example.com/pusher"
	for _, test := range []struct{ name, caddyfile, want string }{
		{"no scheme", inPusher(testApp, "webhook canary.example.com"), "pusher: webhook: number 1: write a URL like https://app.example.com/rollcall"},
		{"unset URL", inPusher(testApp, "webhook {env.ROLLCALL_NO_SUCH}"), "pusher: webhook: number 1: the URL is empty"},
		{"the same URL", inPusher(testApp, hook, hook), "pusher: webhook: number 2: its URL is that of another one"},
		{
			"a native type", inPusher(testApp, hook+" {\nevents member.joined\n}"),
			`webhook: number 1: events: "member.joined" is no event: use cache_miss, channel_occupied, channel_vacated, client_event, member_added, member_removed, subscription_count`,
		},
		{"short keep", inPusher(testApp, hook+" {\nkeep 4m\n}"), "webhook: number 1: keep 4m0s: use a duration of at least 5m0s"},
		{"long timeout", inPusher(testApp, hook+" {\ntimeout 2m\n}"), "webhook: number 1: timeout 2m0s: use a duration up to 1m0s"},
		{"small queue", inPusher(testApp, hook+" {\nqueue 1KiB\n}"), "webhook: number 1: queue: use a size from 64KiB to 1GiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.caddyfile)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("%q shows the URL", err)
			}
		})
	}
}

// Webhooks of a host are signed with the first key of the app that is pinned to it, or else of the
// first that is not.
func TestWebhooksOfHosts(t *testing.T) {
	const hook = "webhook https://app.example.com/pusher"
	for _, test := range []struct {
		name  string
		lines []string
		want  map[string]string // keys by host; "" for none
	}{
		{
			name:  "app of all hosts",
			lines: []string{"app 1 a " + testSecret},
			want:  map[string]string{"portal.example.com": "a", "b.example.com": "a"},
		},
		{
			name:  "rotated",
			lines: []string{"app 1 new " + testSecret, "app 1 old " + otherSecret},
			want:  map[string]string{"portal.example.com": "new"},
		},
		{
			name:  "two apps",
			lines: []string{"app 1 a " + testSecret, "app 2 b " + otherSecret},
			want:  map[string]string{"portal.example.com": "a"},
		},
		{
			name:  "pinned",
			lines: []string{"app 1 a " + testSecret, "app 2 b " + otherSecret + " b.example.com"},
			want:  map[string]string{"portal.example.com": "a", "b.example.com": "b"},
		},
		{
			name:  "only pinned",
			lines: []string{"app 2 b " + otherSecret + " b.example.com"},
			want:  map[string]string{"portal.example.com": "", "b.example.com": "b"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, inPusher(append(test.lines, hook)...))
			for host, want := range test.want {
				list := c.handler(t).rollcall.Site.Receivers(testkit.MustHost(t, host))
				key := ""
				for _, r := range list {
					key = r.Writer.(*hooks.Writer).Key.Key
				}
				if key != want || len(list) > 1 {
					t.Errorf("%s: %d receivers, key %q, want %q", host, len(list), key, want)
				}
			}
		})
	}
}

// hookHearer is a receiver of webhooks that keeps the greatest number of each channel, and drops
// what is not greater.
type hookHearer struct {
	*httptest.Server
	mu      sync.Mutex
	numbers map[string][2]uint64 // epoch and seq
	heard   []string             // "NAME CHANNEL USER COUNT"
	gaps    []string
}

func newHookHearer(t *testing.T, key *app.Key) *hookHearer {
	t.Helper()
	h := &hookHearer{numbers: make(map[string][2]uint64)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var body struct{ Events []hookEvent }
		if err := json.Unmarshal(raw, &body); err != nil || r.Header.Get("X-Pusher-Signature") != key.Sign(raw) {
			t.Errorf("%v, signed %q: %s", err, r.Header.Get("X-Pusher-Signature"), raw)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, e := range body.Events {
			h.hear(e)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

type hookEvent struct {
	Name, Channel, Event, Data string
	UserID                     string `json:"user_id"`
	SocketID                   string `json:"socket_id"`
	Seq, Epoch                 uint64
	Count                      int
}

func (h *hookHearer) hear(e hookEvent) {
	if e.Seq > 0 {
		switch last := h.numbers[e.Channel]; {
		case e.Epoch < last[0] || e.Epoch == last[0] && e.Seq <= last[1]:
			return
		case e.Epoch == last[0] && e.Seq != last[1]+1 || e.Epoch > last[0] && e.Seq != 1:
			h.gaps = append(h.gaps, fmt.Sprintf("%+v after %v", e, last))
		}
		h.numbers[e.Channel] = [2]uint64{e.Epoch, e.Seq}
	}
	h.heard = append(h.heard, strings.Join(strings.Fields(fmt.Sprint(e.Name, " ", e.Channel, " ", e.UserID, " ", e.Event, " ", e.Data, " ", e.Count)), " "))
}

// expect waits for events in any order of their channels, and forgets them.
func (h *hookHearer) expect(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	sorted := func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Sorted(slices.Values(h.heard))
	}
	testkit.Eventually(t, fmt.Sprintf("the receiver has %q", want), func() bool { return len(sorted()) >= len(want) })
	if got := sorted(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heard = nil; len(h.gaps) > 0 {
		t.Errorf("numbers are missing: %q", h.gaps)
	}
}

// portalHooks is the portal with lines in the block pusher.
func portalHooks(lines ...string) string {
	return "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t\tpusher {\n" + strings.Join(lines, "\n") + "\n}\n\t}\n}"
}

const allWebhooks = "{\nevents channel_occupied channel_vacated member_added member_removed client_event cache_miss subscription_count\n}"

// TestWebhooksOfOnePod hears of clients of both protocols, and of a reload that gives the app
// another key.
func TestWebhooksOfOnePod(t *testing.T) {
	dataFolder(t)
	heard := newHookHearer(t, testKey)
	c := mustLoad(t, portalHooks(testApp, "client_events", "webhook "+heard.URL+" "+allWebhooks))
	h := c.handler(t)
	s := c.snapshot()
	c.app.hub.Offer(s)
	defer func() { c.app.hub.TakeBack(s) }()
	server := c.front(t)
	ada := openApp(t, server, "portal.example.com", "/app/key-a")
	ada.subscribe(t, "presence-room", `{"user_id":"ada"}`, testKey)
	heard.expect(t, "channel_occupied presence-room 1", "member_added presence-room ada 1")
	ada.subscribe(t, "private-cache-rates", "", testKey)
	heard.expect(t, "channel_occupied private-cache-rates 1", "subscription_count private-cache-rates 1", "cache_miss private-cache-rates 0")

	bob := arrive(t, h, "portal.example.com", "bob", "", "sales")
	heard.expect(t, "channel_occupied sales 1", "subscription_count sales 1")
	if err := bob.Leave("sales", ""); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, "subscription_count sales 0", "channel_vacated sales 0")

	if err := ada.WriteJSON(map[string]any{"event": "client-typing", "channel": "presence-room", "data": map[string]int{"n": 1}}); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, `client_event presence-room ada client-typing {"n":1} 0`)

	_, s = inEffect(t, portalHooks(testApp, "app 101 key-new "+otherSecret, "client_events", "webhook "+heard.URL+" "+allWebhooks), s)
	if err := ada.WriteJSON(map[string]any{"event": "pusher:unsubscribe", "data": map[string]string{"channel": "presence-room"}}); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, "member_removed presence-room ada 0", "channel_vacated presence-room 0")
}

// TestWebhooksOfTwoPods has a pod without the app, whose connections are told by the first.
func TestWebhooksOfTwoPods(t *testing.T) {
	dataFolder(t)
	heard := newHookHearer(t, testKey)
	address := loopback.AddressFor(t)
	global := clustered("listen " + address + "\nsecret " + clusterSecret)
	c := mustLoad(t, global[:strings.Index(global, "http://")]+portalHooks(testApp, "webhook "+heard.URL))
	stage(t, c.app.hub, c.app.hub.StartPods)
	s := c.snapshot()
	c.app.hub.Offer(s)
	t.Cleanup(func() { c.app.hub.TakeBack(s) })
	other := startOther(t, "eu-west-1", "web-2", address)
	ada := other.arrive(t, "ada", "", "presence-room")
	heard.expect(t, "channel_occupied presence-room 1", "member_added presence-room ada 1")
	server := c.front(t)
	tab := openApp(t, server, "portal.example.com", "/app/key-a")
	tab.subscribe(t, "presence-room", `{"user_id":"ada"}`, testKey)
	// Changes of a pod are told in order, so ada's second connection is known after this one.
	openApp(t, server, "portal.example.com", "/app/key-a").subscribe(t, "presence-room", `{"user_id":"cid"}`, testKey)
	heard.expect(t, "member_added presence-room cid 2")
	if err := ada.Leave("presence-room", ""); err != nil {
		t.Fatal(err)
	}
	other.arrive(t, "bob", "", "presence-room")
	heard.expect(t, "member_added presence-room bob 3")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	heard.expect(t, "member_removed presence-room bob 2")
}
