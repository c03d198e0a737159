package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// team is an anonymous channel: logins by token wait until a pod that starts knows which tokens are
// revoked, and these tests look at it before.
const team = "anonymous-team"

// backendMessage is the body of a message to the team.
func backendMessage(probe string) string {
	return fmt.Sprintf(`{"apiKey":%q,"channels":[%q],"message":{"probe":%q}}`, apiKey, team, probe)
}

// sends sends a message of a backend until the pod takes it. It returns how often the pod refused
// it, because it was starting.
func (p *pod) sends(t *testing.T, probe string) (refused int) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		a := p.site.Request(t, http.MethodPost, "/message/sendmessage", backendMessage(probe))
		switch {
		case a.Status == http.StatusCreated:
			return nil
		case a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, `"code":"unavailable"`):
			t.Fatalf("%s: status %d: %s", p.Pod, a.Status, a.Body)
		}
		refused++
		return fmt.Errorf("%s refuses messages: %s", p.Pod, a.Body)
	})
	return refused
}

// sends sends a message of the client until the pod takes it. It returns how often the pod refused
// it.
func (b *mailbox) sends(t *testing.T, probe string) (refused int) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		sent, failed := b.answered("sent"), b.answered("error")
		b.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"probe":%q}}`, team, probe))
		ws.Poll(t, ws.Patience, func() error {
			if b.answered("sent")+b.answered("error") == sent+failed {
				return errors.New("the client has no answer")
			}
			return nil
		})
		if b.answered("sent") > sent {
			return nil
		}
		refused++
		return errors.New("the message of the client is refused")
	})
	return refused
}

// A message that a pod takes in its first second reaches the listeners on other pods. Until it can,
// the pod refuses messages, and serves sockets.
func TestMessagesOfAStartingPodArrive(t *testing.T) {
	d := deploy(t, podNames(2, "eu-west"), fast)
	starting, other := d[1], d[0]
	listener := other.listen(t, "", team)
	for _, by := range []string{"a backend", "a client"} {
		starting.stop(t)
		starting.run(t)
		var refused int
		if by == "a backend" {
			refused = starting.sends(t, by)
		} else {
			refused = starting.listen(t, "", team).sends(t, by)
		}
		if refused == 0 {
			t.Errorf("no message of %s was refused, so nothing was tested", by)
		}
		ws.Poll(t, ws.Patience, func() error {
			if !listener.probed(by) {
				return fmt.Errorf("%s took the message of %s, and the listener on %s did not get it", starting.Pod, by, other.Pod)
			}
			return nil
		})
	}
}

// A pod that reaches no NATS refuses messages for a moment only. Its answers stay incomplete.
func TestPodWithoutNATSTakesMessages(t *testing.T) {
	block := fmt.Sprintf("nats nats://127.0.0.1:%d\nsecret %s", podPort(t), clusterSecret)
	p := newPod(t, cluster.Pod{DC: "eu-west", Name: "pod-1"}, fast, block)
	p.run(t)
	listener := p.listen(t, "", team)
	if p.sends(t, "here") == 0 {
		t.Error("the first message was not refused, though the pod has not joined")
	}
	ws.Poll(t, ws.Patience, func() error {
		if !listener.probed("here") {
			return fmt.Errorf("%s took the message, and its own listener did not get it", p.Pod)
		}
		return nil
	})
	if err := p.ready(); err != nil {
		t.Error(err)
	}
	if a, err := cluster.AllUsers(p.site, cluster.Shape{}); err != nil || a.Complete {
		t.Errorf("the answer without NATS: %+v (%v)", a, err)
	}
}
