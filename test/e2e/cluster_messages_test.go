package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// mailbox is a client that keeps its messages.
type mailbox struct {
	*ws.Client
	user string

	mu       sync.Mutex
	messages []heardMessage
	answers  map[string]int // by type
	closed   error          // why reading ended; nil while it goes on
}

type heardMessage struct {
	Channel string
	From    *ws.User
	Message struct {
		N     int
		Probe string
	}
}

// listen connects a user to the pod and joins the channel.
func (p *pod) listen(t *testing.T, user, channel string) *mailbox {
	t.Helper()
	var header []string
	if user != "" {
		header = []string{"Authorization", "Bearer " + token(t, *userOf(user))}
	}
	b := &mailbox{Client: p.site.Dial(t, header...), user: user, answers: make(map[string]int)}
	b.Join(t, channel)
	go b.read() // ends with the connection
	return b
}

func (b *mailbox) read() {
	for {
		_, p, err := b.Conn.ReadMessage()
		if err != nil {
			b.mu.Lock()
			b.closed = err
			b.mu.Unlock()
			return
		}
		var frame struct{ Type string }
		var message heardMessage
		if json.Unmarshal(p, &frame) != nil || frame.Type == "message" && json.Unmarshal(p, &message) != nil {
			return
		}
		b.mu.Lock()
		if frame.Type == "message" {
			b.messages = append(b.messages, message)
		} else {
			b.answers[frame.Type]++
		}
		b.mu.Unlock()
	}
}

// probed reports whether the client received a message with the probe.
func (b *mailbox) probed(probe string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.messages, func(m heardMessage) bool { return m.Message.Probe == probe })
}

// answered returns how many frames of a type the client received.
func (b *mailbox) answered(kind string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answers[kind]
}

// numbers returns the numbers of the messages from a user, in order of arrival.
func (b *mailbox) numbers(user string) (list []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if m.From != nil && m.From.ID == user && m.Message.Probe == "" {
			list = append(list, m.Message.N)
		}
	}
	return list
}

// fast lets clients send without a rate limit.
const fast = "limits {\nframes_per_second 100000\n}"

// Every listener on every pod gets each message once, and messages of one sender in order.
func TestMessagesReachListenersOnAllPods(t *testing.T) {
	d := deploy(t, podNames(2, "us-east-1", "eu-west-1"), fast)
	before := d.ignores(t)
	const channel, messages = "team", 300
	var boxes, senders []*mailbox
	for i, p := range d {
		sender := p.listen(t, fmt.Sprintf("sender-%d", i), channel)
		senders = append(senders, sender)
		boxes = append(boxes, sender, p.listen(t, "listener", channel))
	}
	outsider := d[0].listen(t, "", "anonymousRoom")

	// Other pods may not know yet that a pod has its first connection.
	for _, s := range senders {
		ws.Poll(t, ws.Patience, func() error {
			s.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"probe":%q}}`, channel, s.user))
			for i, b := range boxes {
				if !b.probed(s.user) {
					return fmt.Errorf("no probe of %s on %s", s.user, d[i/2].Pod)
				}
			}
			return nil
		})
	}

	var all sync.WaitGroup
	for _, s := range senders {
		all.Go(func() {
			for n := range messages {
				s.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"n":%d}}`, channel, n))
			}
		})
	}
	all.Wait()
	want := make([]int, messages)
	for n := range want {
		want[n] = n
	}
	for i, b := range boxes {
		for _, s := range senders {
			ws.Poll(t, ws.Patience, func() error {
				if got := b.numbers(s.user); len(got) < messages {
					return fmt.Errorf("a listener on %s has %d of the %d messages of %s", d[i/2].Pod, len(got), messages, s.user)
				}
				return nil
			})
		}
	}
	for i, b := range boxes {
		for _, s := range senders {
			if got := b.numbers(s.user); !slices.Equal(got, want) {
				t.Errorf("a listener on %s has the messages of %s as %v", d[i/2].Pod, s.user, got)
			}
		}
	}

	// A backend reaches one connection from any pod.
	private := outsider.Welcome.Channel
	for i, p := range d {
		body := fmt.Sprintf(`{"channels":[%q],"message":{"probe":"to %d"}}`, private, i)
		a := p.site.Request(t, http.MethodPost, "/message/sendmessage", body, "X-Api-Key", apiKey)
		if a.Status != http.StatusCreated || a.Body != body {
			t.Errorf("status %d: %s", a.Status, a.Body)
		}
		ws.Poll(t, ws.Patience, func() error {
			if !outsider.probed(fmt.Sprintf("to %d", i)) {
				return fmt.Errorf("nothing of %s", p.Pod)
			}
			return nil
		})
	}
	outsider.mu.Lock()
	if len(outsider.messages) != len(d) || outsider.messages[0].Channel != private || outsider.messages[0].From != nil {
		t.Errorf("the visitor has %+v", outsider.messages)
	}
	outsider.mu.Unlock()
	d.awaitIgnored(t, before, ignored{})
}

// When a pod ends, only its own listeners are gone.
func TestMessagesGoOnWithoutAPodThatDied(t *testing.T) {
	d := deploy(t, podNames(3, "us-east-1"), fast)
	sender, listener, lost := d[0].listen(t, "ann", "team"), d[1].listen(t, "bob", "team"), d[2].listen(t, "cid", "team")
	send := func(n int) {
		t.Helper()
		sender.Send(t, fmt.Sprintf(`{"type":"send","channels":["team"],"message":{"n":%d,"probe":"%d"}}`, n, n))
	}
	n := 0
	ws.Poll(t, ws.Patience, func() error {
		n++
		send(n)
		if probe := fmt.Sprint(n - 1); !listener.probed(probe) || !lost.probed(probe) {
			return fmt.Errorf("probe %s did not come yet", probe)
		}
		return nil
	})
	d[2].kill()
	for range 20 {
		n++
		send(n)
	}
	ws.Poll(t, ws.Patience, func() error {
		if !listener.probed(fmt.Sprint(n)) || !sender.probed(fmt.Sprint(n)) {
			return fmt.Errorf("message %d did not come", n)
		}
		return nil
	})
	listener.mu.Lock()
	defer listener.mu.Unlock()
	for i := 1; i < len(listener.messages); i++ {
		if listener.messages[i].Message.N != listener.messages[i-1].Message.N+1 {
			t.Fatalf("the messages came as %+v", listener.messages)
		}
	}
}
