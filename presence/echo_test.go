package presence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
)

// sendToOthers is send by [Conn.SendToOthers].
func (c *client) sendToOthers(message string, channels ...string) {
	c.t.Helper()
	if err := c.SendToOthers(channels, []byte(message)); err != nil {
		c.t.Fatalf("send to %q: %v", channels, err)
	}
	synctest.Wait()
}

func TestMessageWithoutEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, relay := newWorld(t, &Rules{}), new(wires)
		w.reg.Pods().SetRelay(relay)
		ann, tab, bob := w.connect("ann"), w.connect("ann"), w.connect("bob")
		for _, c := range []*client{ann, tab, bob} {
			c.join("room", WatchNone)
			c.join("hall", WatchNone)
		}
		forget(ann, tab, bob)

		ann.sendToOthers("{1}", "room", "hall", "room")
		ann.hears()
		for _, c := range []*client{tab, bob} {
			got := c.heard() // channels are delivered concurrently
			slices.Sort(got)
			if want := []string{"message hall ann: {1}", "message room ann: {1}"}; !slices.Equal(got, want) {
				t.Errorf("another listener receives %q, want %q", got, want)
			}
		}
		relay.wants(t, fmt.Sprintf(`["room" "hall"] %v {1}`, &User{ID: "ann"}))

		s, err := ann.Prepare([]string{"room", "hall"}, []string{"hall"}, []byte("{2}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ToOthers().Commit(); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ann.hears("message hall ann: {2}")
		bob.hears("message hall ann: {2}", "message hall ann: {2}")
		if err := ann.SendToOthers([]string{"elsewhere"}, []byte("{3}")); !errors.Is(err, ErrNotJoined) {
			t.Errorf("got %v, want %v", err, ErrNotJoined)
		}
		w.idle()
	})
}

// Messages that are delivered together are joined, whoever does not receive some of them.
func TestBatchesLeaveOutEchoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		w := newWorld(t, &Rules{})
		clients, locks, want := make([]*client, 4), make([]*lock, 4), make([][]string, 4)
		for i := range clients {
			clients[i], locks[i] = w.locked(fmt.Sprintf("u%d", i))
			clients[i].join("room", WatchNone)
		}
		forget(clients...)
		gate := make(chan struct{})
		for _, l := range locks {
			l.gate = gate
		}
		clients[0].send("first", "room") // its writes hold up what follows
		for i := range clients {
			want[i] = append(want[i], "message room u0: first")
		}
		for n := range 300 {
			i, echo := rng.IntN(3), rng.IntN(3) > 0 // the last client sends nothing
			text := fmt.Sprint(n)
			if echo {
				clients[i].send(text, "room")
			} else {
				clients[i].sendToOthers(text, "room")
			}
			for j := range clients {
				if echo || j != i {
					want[j] = append(want[j], fmt.Sprintf("message room u%d: %s", i, text))
				}
			}
		}
		close(gate)
		synctest.Wait()
		for i, c := range clients {
			c.hears(want[i]...)
		}
		if got := fmt.Sprint(locks[3].batches); got != "[1 300]" {
			t.Errorf("batches of %s frames for a connection that receives all, want [1 300]", got)
		}
		w.idle()
	})
}
