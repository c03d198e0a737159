package membership

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/clustertest"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A process that changes its cluster has connections before the new cluster knows its sites.
func TestPodMayServeAnyHostUntilItSaysWhatItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(clustertest.Lab)
		a, b := settled(t, n, "x", "a"), joining(t, n, "x", "b")
		b.runBare(t)
		time.Sleep(time.Second)
		a.wantState(t, b.self, "alive")
		serves := func() int { return len(a.Serving(testkit.MustHost(t, "example.com"), ScopeAll, true)) }
		if serves() != 1 {
			t.Error("a pod that has not said what it serves is not asked")
		}
		b.SetSites([]message.Site{clustertest.Site([]string{"b.com"})})
		time.Sleep(time.Second)
		if serves() != 0 {
			t.Error("a pod that serves another host is asked")
		}
	})
}
