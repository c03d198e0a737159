package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// numbered is an event of a webhook about who is there.
type numbered struct {
	Name    string
	Channel string
	UserID  string `json:"user_id"`
	Epoch   json.RawMessage
	Seq     int
}

// inOrder returns the events of a channel, each once, in the order of their arrival.
func (r *receiver) inOrder(t *testing.T, channel string) []numbered {
	t.Helper()
	var events []numbered
	seen := make(map[string]bool) // requests: one whose answer was lost comes again
	for _, d := range r.deliveries() {
		if id := d.header.Get("Webhook-Id"); id != "" {
			if seen[id] {
				continue
			}
			seen[id] = true
		}
		var body struct{ Events []numbered }
		if err := json.Unmarshal([]byte(d.body), &body); err != nil {
			t.Fatalf("%v: %s", err, d.body)
		}
		for _, e := range body.Events {
			if e.Channel == channel {
				events = append(events, e)
			}
		}
	}
	return events
}

// TestT32ReceiverIsDown restarts Caddy while the receiver is down, for ROLLCALL_DOWN or 3 s. Every
// event arrives, in order for each channel: seq grows by one, or the epoch is new.
func TestT32ReceiverIsDown(t *testing.T) {
	t.Parallel()
	down := 3 * time.Second
	if text := os.Getenv("ROLLCALL_DOWN"); text != "" {
		var err error
		if down, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	hooks := newReceiver(t)
	config := setup{options: "grace 1s", pusher: "webhook " + hooks.url + " {\nkeep 10m\n}"}
	p := start(t, config)
	channels := []string{"presence-a", "presence-b"}
	first := p.open(t)
	for _, channel := range channels {
		first.enter(t, channel, "first", "")
		hooks.await(t, "member_added "+channel+" first")
	}

	hooks.refuse.Store(true)
	began := time.Now()
	var want []string
	arrive := func(round string) {
		for i := range 5 {
			user := fmt.Sprintf("%s-%d", round, i)
			c := p.open(t)
			for _, channel := range channels {
				c.enter(t, channel, user, "")
				want = append(want, fmt.Sprintf("member_added %s %s", channel, user))
				if round == "before" { // the stop takes them away
					want = append(want, fmt.Sprintf("member_removed %s %s", channel, user))
				}
			}
		}
	}
	arrive("before")
	<-time.After(time.Second) // until the events are in the queue: a member that comes and goes before is no event
	p.signal(t, syscall.SIGTERM)
	<-p.ended
	p.run(t, config)
	arrive("after")
	<-time.After(time.Until(began.Add(down)))
	hooks.refuse.Store(false)

	for _, name := range want {
		ws.Poll(t, ws.Patience+2*down, func() error { // attempts become rarer
			if got := hooks.names(); !slices.Contains(got, name) {
				return fmt.Errorf("no %s in %q", name, got)
			}
			return nil
		})
	}
	for _, channel := range channels {
		var epoch string
		seq, epochs := 0, make(map[string]bool)
		for _, e := range hooks.inOrder(t, channel) {
			switch now := string(e.Epoch); {
			case now == epoch && e.Seq != seq+1:
				t.Errorf("%s: %+v follows %d in the epoch %s", channel, e, seq, epoch)
			case now != epoch && epochs[now]:
				t.Errorf("%s: %+v is of an epoch that had ended", channel, e)
			case now == "":
				t.Errorf("%s: %+v has no epoch", channel, e)
			}
			epoch, seq = string(e.Epoch), e.Seq
			epochs[epoch] = true
		}
	}
	t.Logf("all arrived %s after the receiver went down", time.Since(began).Round(time.Second))
}

// isDown answers like a receiver that is being deployed.
func (r *receiver) isDown(w http.ResponseWriter) bool {
	if r.refuse.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	return false
}
