package query

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
)

// Backends poll 10,000 hosts a second, spread over all pods.
func TestPolledHostsAreFewPayloads(t *testing.T) {
	const (
		hosts = 10_000
		most  = int(time.Second/link.BundleWindow) + 20 // the first are sent at once
	)
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		pods := []*testPod{settled(t, n, "dc", "a"), settled(t, n, "dc", "b"), settled(t, n, "dc", "c")}
		for range 3 { // heartbeats, until every pod has heard the others
			time.Sleep(time.Second)
		}
		before := len(n.Recorded())
		var polls sync.WaitGroup
		for i := range hosts {
			polls.Go(func() {
				p := pods[i%len(pods)]
				dcs, truth := p.AllUsers(t.Context(), testkit.MustHost(t, fmt.Sprintf("h%d.example.com", i)), false, presence.PerUser)
				if len(dcs) != 1 || !truth.Complete {
					t.Errorf("host %d: %v, %+v", i, dcs, truth)
				}
			})
			time.Sleep(time.Second / hosts)
		}
		polls.Wait()
		inboxes, all := map[string]int{}, 0
		for _, r := range n.Recorded()[before:] {
			inboxes[r.Subject]++
		}
		for _, p := range pods { // two pods send to the inbox of each
			if got := inboxes[p.link.Inbox(p.link.Self())]; got > 2*most {
				t.Errorf("%d payloads to a pod, want at most %d of each other one", got, most)
			}
			all += inboxes[p.link.Inbox(p.link.Self())]
		}
		if got := inboxes[pods[0].link.Queries()]; got > 100 {
			t.Errorf("%d payloads to all pods", got)
		}
		if ignored := pods[0].link.Ignored(); ignored != (link.Ignored{}) {
			t.Errorf("ignored %+v", ignored)
		}
		t.Log(all, "payloads to pods,", inboxes[pods[0].link.Queries()], "to all")
	})
}
