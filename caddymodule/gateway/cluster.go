package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// ClusterSettings is the configuration of the cluster with placeholders replaced and files read.
type ClusterSettings struct {
	cluster.Config // without Logger
	// Sum is a hash of all settings. A cluster survives a reload that does not change it.
	Sum [32]byte
}

// joined is the cluster that the configuration in effect asks for. Like the connections, it
// survives a reload.
type joined struct {
	settings *ClusterSettings
	pods     Pods  // nil while it is not started
	err      error // reason of a failed start
}

// series runs steps one after another, without a lock: a step may wait for NATS. The zero value is
// ready to use.
type series struct{ last atomic.Pointer[chan struct{}] }

// do runs the step after all earlier ones, and closes the channel when it has ended.
func (s *series) do(step func()) (done <-chan struct{}) {
	ended := make(chan struct{})
	before := s.last.Swap(&ended)
	go func() { // ends with the step
		defer close(ended)
		if before != nil {
			<-*before
		}
		step()
	}()
	return ended
}

// clusterRetry is the pause after a failed start of the cluster.
const clusterRetry = 5 * time.Second

// CheckCluster checks that this process can listen on the address of a cluster, before its
// configuration takes effect.
func (h *Hub) CheckCluster(s *ClusterSettings) error {
	if s == nil || s.Bus.Listen == "" {
		return nil
	}
	if now := h.cluster.Load(); now != nil && now.settings.Bus.Listen == s.Bus.Listen {
		return nil // this process already listens there
	}
	ln, err := net.Listen("tcp", s.Bus.Listen)
	if err != nil {
		return fmt.Errorf("cluster: trying to listen, choose another address if this one is taken: %w", err)
	}
	return ln.Close()
}

// applyCluster joins the cluster that the configuration in effect asks for, and leaves any other.
// It is a step.
func (h *Hub) applyCluster() {
	now, old := h.InEffect(), h.cluster.Load()
	if now == nil {
		return
	}
	if old != nil && old.pods != nil && old.pods.Ready() {
		h.joinedOnce.Store(true)
	}
	want := now.Cluster
	switch {
	case want == nil && old == nil:
		h.Assignments.Book.SetScope(nil, 0) // nobody else has what it drops
		h.speaker.SetPeers(nil)
		return
	case want == nil:
		h.cluster.Store(nil)
		h.closePods(old, now.Logger)
		h.Assignments.Book.SetScope(nil, 0)
		h.speaker.SetPeers(nil)
		now.Logger.Info("cluster left: this pod is alone")
		return
	case old != nil && old.settings.Sum == want.Sum:
		if old.pods != nil {
			old.pods.SetSites(h.clusterSites())
			return
		}
	case old != nil && old.pods != nil && old.settings.samePod(want):
		h.changeCluster(now, old, want)
		return
	case old != nil && old.pods != nil:
		if h.joinBeside(now, old, want) {
			return
		}
		h.cluster.Store(&joined{settings: want}) // so that no answer is called complete meanwhile
		h.leavePods(old, want, now.Logger)
	}
	h.startCluster(now, want)
}

// apart reports whether clusters with these settings do not receive what the other one sends, so
// that the pod can be in both.
func (s *ClusterSettings) apart(other *ClusterSettings) bool {
	return s.Name != other.Name || s.Secret != other.Secret
}

// joinBeside joins another cluster before it leaves the old one. If that fails, it schedules
// another try. It returns false if the old one must be left before. It is part of a step.
func (h *Hub) joinBeside(now *Configuration, old *joined, want *ClusterSettings) bool {
	if !old.settings.apart(want) {
		return false
	}
	pods, err := h.StartPods(h.startConfig(want, true))
	switch {
	case errors.Is(err, syscall.EADDRINUSE): // by the old one: CheckCluster has tried
		return false
	case err != nil:
		h.changeLater(now, err)
		return true
	}
	pods.SetSites(h.clusterSites())
	h.awaitReady(old.pods, pods)
	pods.Activate()
	h.setJoined(now, want, pods)
	h.leavePods(old, want, now.Logger)
	return true
}

// awaitReady waits until the new cluster is ready, for maxStarting at most. It does not wait if the
// old one is not, or if the process stops.
func (h *Hub) awaitReady(old, pods Pods) {
	ctx, cancel := context.WithTimeout(context.Background(), maxStarting)
	defer cancel()
	h.endWait.Store(&cancel)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for old.Ready() && !pods.Ready() && !h.Stopping() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leavePods leaves the old cluster for another one.
func (h *Hub) leavePods(old *joined, want *ClusterSettings, logger *zap.Logger) {
	if err := old.pods.Leave(old.settings.Name == want.Name); err != nil {
		logger.Error("closing the cluster", zap.Error(err))
	}
}

// samePod reports whether a running cluster can take over the other settings: they are of the same
// pod in the same deployment.
func (s *ClusterSettings) samePod(other *ClusterSettings) bool {
	return s.Name == other.Name && s.DataCenter == other.DataCenter && s.Pod == other.Pod && s.Secret == other.Secret
}

// changeCluster makes the running cluster use other settings, without leaving it. If that fails, it
// schedules another try. It is part of a step.
func (h *Hub) changeCluster(now *Configuration, old *joined, want *ClusterSettings) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.endWait.Store(&cancel)
	if h.Stopping() {
		return
	}
	if err := old.pods.Change(ctx, want.Config); err != nil {
		// If the bus could not go back to the old settings, it is closed: those are a change too.
		unsure := *old.settings
		unsure.Sum = [32]byte{}
		h.cluster.Store(&joined{settings: &unsure, pods: old.pods})
		h.changeLater(now, err)
		return
	}
	h.cluster.Store(&joined{settings: want, pods: old.pods})
	old.pods.SetSites(h.clusterSites())
	now.Logger.Info("cluster changed", zap.String("name", want.Name))
}

// changeLater schedules another try of a change that has failed.
func (h *Hub) changeLater(now *Configuration, err error) {
	now.Logger.Error("cluster not changed, trying again", zap.Error(err), zap.Duration("pause", clusterRetry))
	if h.rechange != nil {
		h.rechange.Stop() // of an earlier reload
	}
	h.rechange = time.AfterFunc(clusterRetry, func() { h.clusterSteps.do(h.rechangeCluster) })
}

// rechangeCluster tries a change again that failed, unless there is none. It is a step.
func (h *Hub) rechangeCluster() {
	if now, old := h.InEffect(), h.cluster.Load(); now != nil && now.Cluster != nil && old != nil && old.settings.Sum != now.Cluster.Sum {
		h.applyCluster()
	}
}

// startConfig returns the configuration of a cluster to be started.
func (h *Hub) startConfig(want *ClusterSettings, standby bool) cluster.Config {
	cfg := want.Config
	cfg.Observe = h.metrics.queried
	cfg.Logger = h.log.named("rollcall.cluster")
	cfg.Standby = standby
	return cfg
}

// startCluster joins the cluster, and schedules another try if that fails. It is part of a step.
func (h *Hub) startCluster(now *Configuration, want *ClusterSettings) {
	pods, err := h.StartPods(h.startConfig(want, false))
	if err == nil {
		pods.SetSites(h.clusterSites())
		h.setJoined(now, want, pods)
		return
	}
	h.Registry.Pods().SetRelay(nil) // of a cluster that was left
	now.Logger.Error("cluster not joined, trying again", zap.Error(err), zap.Duration("pause", clusterRetry))
	failed := &joined{settings: want, err: err}
	h.cluster.Store(failed)
	time.AfterFunc(clusterRetry, func() { h.clusterSteps.do(func() { h.retryCluster(failed) }) })
}

func (h *Hub) setJoined(now *Configuration, want *ClusterSettings, pods Pods) {
	h.cluster.Store(&joined{settings: want, pods: pods})
	if h.Stopping() { // the drain may have begun before there was a cluster to notify
		pods.Drain()
	}
	now.Logger.Info("cluster joined", zap.String("name", want.Name),
		zap.String("data_center", want.DataCenter), zap.String("pod", want.Pod))
}

// retryCluster starts a cluster again whose start failed, unless another configuration took effect
// meanwhile. It is a step.
func (h *Hub) retryCluster(failed *joined) {
	if now := h.InEffect(); now != nil && failed != nil && failed.pods == nil && h.cluster.Load() == failed && !h.Stopping() {
		h.startCluster(now, failed.settings)
	}
}

// RetryCluster tries to start or to change a cluster again that failed, without waiting for the
// pause. Without such a cluster it does nothing.
func (h *Hub) RetryCluster() {
	<-h.clusterSteps.do(func() {
		if old := h.cluster.Load(); old != nil && old.pods != nil {
			h.rechangeCluster()
			return
		}
		h.retryCluster(h.cluster.Load())
	})
}

// announceSites sends the other pods the hosts that are served, those of offered configurations
// included. It is a step.
func (h *Hub) announceSites() {
	if pods := h.Joined(); pods != nil {
		pods.SetSites(h.clusterSites())
	}
}

// clusterSites returns the sites that are served, as package message encodes them.
func (h *Hub) clusterSites() []message.Site {
	var sites []message.Site
	effective := h.InEffect()
	for _, s := range h.configs.Load().list {
		for _, of := range s.Sites {
			site := message.Site{Events: s == effective && of.HasEvents()}
			if of.Hosts != nil {
				site.Sets = [][]string{of.Hosts}
			}
			sites = append(sites, site)
		}
	}
	return sites
}

// drainCluster notifies the other pods that this one is about to end.
func (h *Hub) drainCluster() {
	if pods := h.Joined(); pods != nil {
		pods.Drain()
	}
}

// endCluster leaves the cluster. It waits for that until the deadline, or 500 ms if that is later.
func (h *Hub) endCluster(logger *zap.Logger, deadline time.Time) {
	if end := h.endWait.Load(); end != nil {
		(*end)()
	}
	done := h.clusterSteps.do(func() { h.closePods(h.cluster.Swap(nil), logger) })
	const moment = 500 * time.Millisecond
	select {
	case <-done:
	case <-time.After(max(moment, time.Until(deadline))):
	}
}

func (h *Hub) closePods(old *joined, logger *zap.Logger) {
	if old == nil || old.pods == nil {
		return
	}
	if err := old.pods.Close(); err != nil {
		logger.Error("closing the cluster", zap.Error(err))
	}
}
