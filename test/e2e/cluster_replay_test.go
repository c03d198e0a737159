package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rollcall-gateway/rollcall/test/internal/cluster"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// recorder records all payloads on a NATS, and can replay them.
type recorder struct {
	nc *nats.Conn

	mu   sync.Mutex
	msgs []*nats.Msg
}

func record(t *testing.T, n *natsServer) *recorder {
	t.Helper()
	r := &recorder{nc: n.client(t)}
	_, err := r.nc.Subscribe("rollcall.>", func(m *nats.Msg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.msgs = append(r.msgs, &nats.Msg{Subject: m.Subject, Data: m.Data})
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take returns the recorded payloads.
func (r *recorder) take() []*nats.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.msgs)
}

// replay publishes them again, for longer than pods wait for a silent pod.
func (r *recorder) replay(t *testing.T, msgs []*nats.Msg, each func()) {
	t.Helper()
	const long, every = 7 * time.Second, 500 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range int(long / every) {
		<-tick.C
		for _, m := range msgs {
			if err := r.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		each()
	}
}

// TestRecordedPayloads records all payloads of two pods and replays them: to the same pods, and
// after one was killed and the other restarted, so that neither remembers anything. Messages are
// not delivered again, and the dead pod stays dead.
func TestRecordedPayloads(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{"with a secret": "secret " + clusterSecret, "without a secret": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNATS(t, &server.Options{NoSystemAccount: true})
			var pods deployment
			for _, pod := range podNames(2, "eu-west") {
				pods = append(pods, newPod(t, pod, fast, "nats "+n.ClientURL()+"\n"+secret))
			}
			pods.run(t)
			a, b := pods[0], pods[1]
			r := record(t, n)

			const channel = "team"
			ada, bob := a.listen(t, "ada", channel), b.listen(t, "bob", channel)
			say := func(from *mailbox, probe string, to ...*mailbox) {
				ws.Poll(t, ws.Patience, func() error {
					from.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"probe":%q}}`, channel, probe))
					for _, box := range to {
						if !box.probed(probe) {
							return fmt.Errorf("%s has not heard %s", box.user, probe)
						}
					}
					return nil
				})
			}
			say(bob, "bob", ada)
			say(ada, "ada", bob)
			for i := range 3 {
				bob.Send(t, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"n":%d}}`, channel, i))
			}
			ws.Poll(t, ws.Patience, func() error {
				if got := ada.numbers("bob"); len(got) != 3 {
					return fmt.Errorf("ada has heard %v", got)
				}
				return nil
			})
			recorded := r.take()
			if !strings.HasPrefix(recorded[0].Subject, "rollcall.") {
				t.Fatalf("recorded on %s", recorded[0].Subject)
			}
			r.replay(t, recorded, func() {
				if got := ada.numbers("bob"); len(got) != 3 {
					t.Fatalf("ada has heard %v", got)
				}
			})
			if now := pods.ignores(t); now[0].Repeated < len(recorded) || now[0].Forged > 0 {
				t.Errorf("ignored: %+v", now)
			}

			// Everything that a knew about b is gone, with its folder, and so is b.
			b.signal(t, syscall.SIGKILL)
			b.await(t, ws.Patience)
			a.signal(t, syscall.SIGKILL)
			a.await(t, ws.Patience)
			a.forgetAll(t)
			recorded = r.take()
			a.run(t)
			ws.Poll(t, ws.Patience, a.ready)
			again := a.listen(t, "ada", channel)
			r.replay(t, recorded, func() {
				if err := a.sees(deployment{a}); err != nil {
					t.Fatal(err)
				}
				if got := again.numbers("bob"); len(got) > 0 || again.probed("bob") {
					t.Fatalf("ada has heard %v", got)
				}
				if answer, err := cluster.AllUsers(a.site, cluster.Shape{}); err != nil || !answer.Complete || answer.DCs["eu-west"].Authenticated != 1 {
					t.Fatalf("answer %+v, %v", answer, err)
				}
			})

			b.run(t)
			pods.await(t)
			bob = b.listen(t, "bob", channel)
			say(bob, "back", again)
			if got := again.numbers("bob"); len(got) > 0 {
				t.Errorf("ada has heard %v", got)
			}
		})
	}
}
