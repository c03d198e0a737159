package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// stubbornPods are a cluster that takes over no other settings.
type stubbornPods struct {
	joiningPods
	changes atomic.Int64
}

func (p *stubbornPods) Change(context.Context, cluster.Config) error {
	p.changes.Add(1)
	return errors.New("the address is taken")
}

// However many reloads there were, a change that fails is tried again once in each pause.
func TestFailedChangeIsTriedAgainOnceInEachPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, of := newTestHub(t), testSite()
		pods := new(stubbornPods)
		h.StartPods = func(cluster.Config) (Pods, error) { return pods, nil }
		var now *Configuration
		const reloads = 5
		for i := range byte(1 + reloads) {
			next := &Configuration{Owners: ownsAll{of}, Logger: zap.NewNop(), Retired: of.Retired}
			next.Cluster = &ClusterSettings{Sum: [32]byte{i + 1}}
			h.Offer(next)
			if now != nil {
				h.TakeBack(now)
			}
			now = next
			synctest.Wait()
		}
		if got := pods.changes.Load(); got != reloads {
			t.Errorf("%d tries in %d reloads", got, reloads)
		}
		const pauses = 4
		time.Sleep(pauses*clusterRetry + clusterRetry/2)
		synctest.Wait()
		if got := pods.changes.Load() - reloads; got != pauses {
			t.Errorf("%d tries in %d pauses", got, pauses)
		}
		h.TakeBack(now)
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
}
