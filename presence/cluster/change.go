package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/timing"
)

// timeouts returns how long queries wait, by default as long as the timing says.
func (cfg Config) timeouts(t timing.Timing) (local, remote time.Duration) {
	return cmp.Or(cfg.Timeout, t.Timeout), cmp.Or(cfg.Remote, t.Remote)
}

// Change makes a running cluster use other settings, see [bus.Bus.Change] for those of the bus. The
// pod stays joined, as the same incarnation. Of cfg, only Bus, Timeout and Remote are used: what
// names the pod and its deployment, and the secret, cannot change.
//
// After an error, the cluster is as it was. If the context ends, Change returns its error.
func (c *Cluster) Change(ctx context.Context, cfg Config) error {
	if b, ok := c.bus.(*bus.Bus); ok {
		if err := b.Change(ctx, cfg.Bus); err != nil {
			return fmt.Errorf("changing the cluster: %w", err)
		}
	}
	c.members.SetTimeouts(cfg.timeouts(timing.Default()))
	return nil
}

// Activate makes the cluster the registry's relay, in the place of another one. What watchers see
// of other pods stays. Some time after the cluster is ready, what is of pods that it does not know
// counts as lost.
func (c *Cluster) Activate() {
	if c.speaker != nil {
		c.speaker.SetPeers(c.events)
	}
	if c.standby != nil && c.standby.Assignments != nil {
		c.standby.Assignments.SetClock(c.members.Clock)
	}
	if c.registry.Pods().ReplaceRelay(c.relay()) {
		c.all.Go(c.forgetOthers)
	}
	c.replicator.TakeOver()
	c.messenger.Recall()
	if c.standby != nil && c.standby.Memory != "" {
		c.all.Go(c.remember)
	}
}

// remember opens the memory when the cluster before this one has closed it, and keeps it. It tries
// until it can.
func (c *Cluster) remember() {
	var failed oftenlog.Limit
	for {
		err := c.keepMemory(*c.standby)
		if err == nil {
			return
		}
		pause := time.Second
		if errors.Is(err, boltfile.ErrLocked) {
			pause = 100 * time.Millisecond
		} else if _, ok := failed.Allow(link.LogEvery); ok {
			c.standby.Logger.Error("cannot save which pods this one knows: after a restart, its answers can lack those that it misses",
				zap.Error(err))
		}
		if !c.wait(pause) {
			return
		}
	}
}

// keepMemory opens the memory and saves to it until the cluster is closed.
func (c *Cluster) keepMemory(cfg Config) error {
	closeFile, err := cfg.openMemory()
	if err != nil {
		return err
	}
	known, err := cfg.memory.Load()
	if err == nil {
		c.members.Recall(cfg.memory, known)
		c.members.Remember(c.stop)
	}
	return errors.Join(err, closeFile())
}

// forgetOthers forgets the parts of pods that the relay before this one has left, and that this
// cluster does not know when it is ready.
func (c *Cluster) forgetOthers() {
	for !c.members.Ready() {
		if !c.wait(100 * time.Millisecond) {
			return
		}
	}
	if _, remote := c.members.Timeouts(); !c.wait(remote) { // by then, all pods have answered the checks of the channels
		return
	}
	names := c.registry.Pods().Names() // first, because a pod is alive before it has a part
	alive := make(map[string]bool)
	for _, p := range c.members.All() {
		alive[p.Key()] = true
	}
	for _, name := range names {
		if !alive[name] {
			c.registry.Pods().Forget(name)
		}
	}
}

// wait waits that long. It returns false if the cluster is closed meanwhile.
func (c *Cluster) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stop:
		return false
	}
}

// Leave ends everything that Start has started, because another cluster takes its place. The
// registry keeps the relay and what watchers see of other pods, until the other cluster is its
// relay.
//
// If the pod stays in the deployment, back is true: other pods name it as missing until they hear
// it again, at most for 10 s. Otherwise they are told that it has left.
func (c *Cluster) Leave(back bool) error {
	var err error
	c.closing.Do(func() { err = c.leave(back) })
	return err
}
