package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// call posts to an endpoint of the pod, and decodes the answer, which must be complete.
func (p *pod) call(t *testing.T, endpoint, body string, to any) {
	t.Helper()
	a := p.site.Request(t, http.MethodPost, "/message/"+endpoint, body, "X-Api-Key", apiKey)
	if a.Status != http.StatusOK || a.Header.Get("Rollcall-Complete") != "true" {
		t.Fatalf("%s %s: status %d, %v: %s", endpoint, body, a.Status, a.Header, a.Body)
	}
	if err := json.Unmarshal([]byte(a.Body), to); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
}

// tabs counts the frames of clients of one user.
type tabs []*mailbox

// await waits until each tab has the message n times, except those that are left out.
func (all tabs) await(t *testing.T, probe string, n int, except ...*mailbox) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		for i, b := range all {
			want := n
			for _, e := range except {
				if b == e {
					want = 0
				}
			}
			if got := b.count(probe); got != want {
				return fmt.Errorf("tab %d of %d has %q %d times, want %d", i, len(all), probe, got, want)
			}
		}
		return nil
	})
}

// count returns how many messages with the probe the client has received in its private channel.
func (b *mailbox) count(probe string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if m.Message.Probe == probe && m.Channel == b.Welcome.Channel {
			n++
		}
	}
	return n
}

// A user with 50 tabs on three pods of two data centers: every call reaches each of them, whichever
// pod is asked, and nobody else.
func TestCallsReachAllTabsOfAUser(t *testing.T) {
	d := deploy(t, podNames(2, "us-east-1", "eu-west-1")[:3], fast)
	var ada, bob tabs
	for i := range 50 {
		ada = append(ada, d[i%3].listen(t, "ada", "team"))
	}
	for _, p := range d {
		bob = append(bob, p.listen(t, "bob", "team"))
	}
	send := func(p *pod, to *mailbox, probe string) {
		t.Helper()
		body := fmt.Sprintf(`{"users":["ada"],"except":%q,"idempotencyKey":%q,"message":{"probe":%q}}`, to.Welcome.Connection, probe, probe)
		if a := p.site.Request(t, http.MethodPost, "/message/sendmessage", body, "X-Api-Key", apiKey); a.Status != http.StatusCreated || a.Body != body {
			t.Fatalf("status %d: %s", a.Status, a.Body)
		}
	}
	// Pods may not know yet that another one has its first connection of the host.
	tries := 0
	ws.Poll(t, ws.Patience, func() error {
		for i, p := range d {
			for j, b := range ada {
				if tries > 0 && b.count(fmt.Sprintf("%d by %d", tries, i)) == 0 {
					tries++
					for i, p := range d {
						send(p, bob[0], fmt.Sprintf("%d by %d", tries, i))
					}
					return fmt.Errorf("nothing from %s in tab %d", p.Pod, j)
				}
			}
		}
		if tries == 0 {
			tries++
			return errors.New("nothing is sent yet")
		}
		return nil
	})

	for i, p := range d {
		probe, except := fmt.Sprintf("to all but one, by %s", p), ada[i]
		send(p, except, probe)
		ada.await(t, probe, 1, except)
		for _, again := range d { // a repetition reaches nobody, by whichever pod
			send(again, bob[0], probe)
		}
		last := probe + ", then"
		send(p, bob[0], last)
		ada.await(t, last, 1)
		ada.await(t, probe, 1, except)
		bob.await(t, probe, 0)
	}

	for _, p := range d {
		var online map[string]struct {
			Online      bool
			Connections int
			DataCenters []string
		}
		p.call(t, "online", `{"users":["ada","bob","eve"]}`, &online)
		if got := fmt.Sprint(online); got != "map[ada:{true 50 [eu-west-1 us-east-1]} bob:{true 3 [eu-west-1 us-east-1]} eve:{false 0 []}]" {
			t.Errorf("%s answers %s", p.Pod, got)
		}
	}

	var left struct{ Left int }
	d[0].call(t, "leave", `{"users":["ada"],"channels":["team","hall"]}`, &left)
	if left.Left != len(ada) {
		t.Errorf("%d memberships ended, want %d", left.Left, len(ada))
	}
	for i, b := range ada {
		ws.Poll(t, ws.Patience, func() error {
			if b.answered("left") != 1 {
				return fmt.Errorf("tab %d was not told", i)
			}
			return nil
		})
	}
	d[1].site.Expect(t, "users", `{"channel":"team","scope":"all"}`, `{"team":[{"id":"bob","email":"bob@example.com"}]}`)

	var gone struct{ Disconnected int }
	d[2].call(t, "disconnect", fmt.Sprintf(`{"connections":[%q,%q],"reconnect":true,"reason":"moved"}`,
		ada[0].Welcome.Connection, ada[1].Welcome.Connection), &gone)
	if gone.Disconnected != 2 {
		t.Errorf("%d connections are disconnected, want 2", gone.Disconnected)
	}
	for _, b := range ada[:2] {
		b.closes(t, 4200, "moved")
	}
	d[1].call(t, "disconnect", `{"users":["ada"],"reason":"banned"}`, &gone)
	if gone.Disconnected != len(ada)-2 {
		t.Errorf("%d connections are disconnected, want %d", gone.Disconnected, len(ada)-2)
	}
	for _, b := range ada[2:] {
		b.closes(t, 4002, "banned")
	}
	d[0].call(t, "disconnect", `{"channel":"team"}`, &gone)
	if gone.Disconnected != len(bob) {
		t.Errorf("%d connections are disconnected, want %d", gone.Disconnected, len(bob))
	}
	for _, b := range bob {
		b.closes(t, 4002, "disconnected")
	}
	d[0].site.Await(t, "users", `{"scope":"all"}`, `{}`)
}

// closes waits until the client has read a close frame, and compares it.
func (b *mailbox) closes(t *testing.T, code int, reason string) {
	t.Helper()
	var closed *websocket.CloseError
	ws.Poll(t, ws.Patience, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed == nil {
			return errors.New("the connection is open")
		}
		if !errors.As(b.closed, &closed) {
			t.Fatalf("the connection ended with %v", b.closed)
		}
		return nil
	})
	if closed.Code != code || closed.Text != reason {
		t.Errorf("closed with %d %q, want %d %q", closed.Code, closed.Text, code, reason)
	}
}

// crowdVariable has the number of listeners of TestLargeChannelIsDisconnected, instead of
// crowdByDefault.
const (
	crowdVariable  = "ROLLCALL_CROWD"
	crowdByDefault = 3000
)

// While a large channel is disconnected, which takes its time, others go on.
func TestLargeChannelIsDisconnected(t *testing.T) {
	crowd := crowdByDefault
	if text := os.Getenv(crowdVariable); text != "" {
		var err error
		if crowd, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, setup{options: fast})
	begin(t, job{URL: p.site.Socket().URL, Host: p.site.Host, Channel: "anonymousCrowd", N: crowd})
	other := p.site.Dial(t)
	other.Join(t, "anonymousHall")
	a := p.site.Request(t, http.MethodPost, "/message/disconnect", `{"channel":"anonymousCrowd","reconnect":true}`, "X-Api-Key", apiKey)
	if want := fmt.Sprintf(`{"disconnected":%d}`, crowd); a.Status != http.StatusOK || a.Body != want {
		t.Fatalf("status %d: %s, want %s", a.Status, a.Body, want)
	}
	rounds := 0
	for {
		newcomer := p.site.Dial(t)
		newcomer.Join(t, "anonymousCrowd")
		other.Send(t, `{"type":"send","channels":["anonymousHall"],"message":{}}`)
		other.Next(t)
		other.Next(t) // the answer and the message
		var users map[string]int
		a := p.site.Request(t, http.MethodPost, "/message/users", `{"channel":"anonymousCrowd"}`, "X-Api-Key", apiKey)
		if err := json.Unmarshal([]byte(a.Body), &users); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		rounds++
		if users["anonymousCrowd"] == rounds { // only newcomers, who stay
			break
		}
	}
	t.Logf("%d rounds of a handshake, two joins and a message while %d connections were closed", rounds, crowd)
	if rounds < 2 {
		t.Error("nobody came in between")
	}
}
