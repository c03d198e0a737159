package e2e

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/history"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// comparing is by when pods that meet again have the same assignments.
const comparing = 8 * time.Second

// A removal that was answered completely stays, on all pods, if the user was assigned completely
// before.
func TestScenarioRemovalIsKept(t *testing.T) {
	t.Parallel()
	t.Run("between halves", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			c := newContinents(t, podNames(2, "eu-west"))
			l := newLedger(t, c.deployApart(t, ""))
			c.cutPod(t, c.pods[1])
			var clients sync.WaitGroup
			keys := ledgerKeys("halves")
			for i, k := range keys {
				clients.Go(func() {
					l.untilComplete(l.pods[0], "adduser", k.User, k.Channel)
					l.removeUntilComplete(l.pods[1], k, i%2 == 0)
				})
			}
			<-time.After(longCut)
			c.mendPod(t, c.pods[1])
			clients.Wait()
			l.expectRemoved(keys)
		})
	})
	// The pod that removes was cut off, or down, when the others assigned.
	t.Run("behind", func(t *testing.T) {
		scenario(t, func(t *testing.T) {
			c := newContinents(t, podNames(3, "eu-west"))
			l := newLedger(t, c.deployApart(t, ""))
			from, late := l.pods[0], l.pods[2]
			c.cutPod(t, late.Pod)
			first := l.assign(from, "cut")
			l.removeMeanwhile(late, first, func() { c.mendPod(t, late.Pod) })
			late.signal(t, syscall.SIGKILL)
			late.await(t, ws.Patience)
			second := l.assign(from, "down")
			l.removeMeanwhile(late, second, func() { late.run(t) })
			l.expectRemoved(slices.Concat(first, second))
		})
	})
}

func ledgerKeys(prefix string) (keys []history.Key) {
	const n = 20
	for i := range n {
		keys = append(keys, history.Key{User: fmt.Sprintf("%s-%d", prefix, i), Channel: ledgerChannels[0]})
	}
	return keys
}

// untilComplete repeats a request until all pods have confirmed it.
func (l *ledger) untilComplete(p *pod, endpoint, user string, channels ...string) {
	begin := time.Now()
	for !l.write(p, endpoint, user, channels...) {
		if time.Since(begin) > ws.Patience {
			l.t.Errorf("%s of %s is incomplete for %s", endpoint, p.Pod, ws.Patience)
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// removeUntilComplete removes a user from one channel, or from all.
func (l *ledger) removeUntilComplete(p *pod, k history.Key, all bool) {
	if all {
		l.untilComplete(p, "removeuser", k.User)
	} else {
		l.untilComplete(p, "removeuser", k.User, k.Channel)
	}
}

// assign assigns users, each in one request, until all pods have confirmed it.
func (l *ledger) assign(p *pod, prefix string) []history.Key {
	keys := ledgerKeys(prefix)
	for _, k := range keys {
		l.untilComplete(p, "adduser", k.User, k.Channel)
	}
	return keys
}

// removeMeanwhile lets a pod come back. Meanwhile it removes users there, one each tenth of a
// second.
func (l *ledger) removeMeanwhile(p *pod, keys []history.Key, back func()) {
	var removing sync.WaitGroup
	for i, k := range keys {
		removing.Go(func() {
			<-time.After(time.Duration(i) * 100 * time.Millisecond)
			l.removeUntilComplete(p, k, i%2 == 0)
		})
	}
	<-time.After(500 * time.Millisecond)
	back()
	removing.Wait()
}

// expectRemoved checks that no pod has the assignments, once all had time to compare.
func (l *ledger) expectRemoved(keys []history.Key) {
	l.t.Helper()
	<-time.After(comparing)
	lost := 0
	for _, k := range keys {
		for _, p := range l.pods {
			value, err := l.read(p, k)
			if err != nil {
				l.t.Errorf("reading %v on %s: %v", k, p.Pod, err)
			}
			if value != "" {
				lost++
				break
			}
		}
	}
	l.t.Logf("%d of %d removals are lost", lost, len(keys))
	if lost > 0 {
		l.t.Errorf("%d of %d users are assigned, though all pods have confirmed that they are removed", lost, len(keys))
	}
}
