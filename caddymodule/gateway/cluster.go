package gateway

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// ClusterSettings are a configuration of the cluster with placeholders replaced and files read.
type ClusterSettings struct {
	cluster.Config // without Logger
	// Sum is of all that the settings come to. A cluster goes on through a reload while it is the same.
	Sum [32]byte
}

// joined is the cluster that the configuration in effect asks for. Like the sockets, it goes on through a reload.
type joined struct {
	settings *ClusterSettings
	pods     Pods  // nil while it is not started
	err      error // why it could not be started
}

// series runs steps one after another, without a lock: a step may wait for NATS. The zero value is ready to use.
type series struct{ last atomic.Pointer[chan struct{}] }

// do runs the step when those before it have ended, and closes the channel when it has ended.
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

// clusterRetry is the pause before a cluster that could not be started is tried again.
const clusterRetry = 5 * time.Second

// CheckCluster finds out, before a configuration takes effect, whether its address can be listened to.
func (h *Hub) CheckCluster(s *ClusterSettings) error {
	if s == nil || s.Bus.Listen == "" {
		return nil
	}
	if now := h.cluster.Load(); now != nil && now.settings.Bus.Listen == s.Bus.Listen {
		return nil // the one who listens there is this process
	}
	ln, err := net.Listen("tcp", s.Bus.Listen)
	if err != nil {
		return fmt.Errorf("cluster: trying to listen, choose another address if this one is taken: %w", err)
	}
	return ln.Close()
}

// applyCluster makes this pod part of the cluster that the configuration in effect asks for. It is a step.
func (h *Hub) applyCluster() {
	now, old := h.InEffect(), h.cluster.Load()
	if now == nil {
		return
	}
	want := now.Cluster
	switch {
	case want == nil && old == nil:
		return
	case want == nil:
		h.cluster.Store(nil)
		h.closePods(old, now.Logger)
		now.Logger.Info("cluster left: this pod is alone")
		return
	case old != nil && old.settings.Sum == want.Sum:
		if old.pods != nil {
			old.pods.SetSites(h.clusterSites())
			return
		}
	case old != nil:
		h.cluster.Store(&joined{settings: want}) // nobody gets half an answer for a whole one meanwhile
		h.closePods(old, now.Logger)
	}
	h.startCluster(now, want)
}

// startCluster joins the cluster, or tries to after a while. It is part of a step.
func (h *Hub) startCluster(now *Configuration, want *ClusterSettings) {
	cfg := want.Config
	cfg.Observe = h.metrics.queried
	cfg.Logger = h.log.named("rollcall.cluster")
	pods, err := h.StartPods(cfg)
	if err == nil {
		pods.SetSites(h.clusterSites())
		h.cluster.Store(&joined{settings: want, pods: pods})
		if h.Stopping() { // the drain may have looked for a cluster before this one
			pods.Drain()
		}
		now.Logger.Info("cluster joined", zap.String("name", want.Name),
			zap.String("data_center", want.DataCenter), zap.String("pod", want.Pod))
		return
	}
	now.Logger.Error("cluster not joined, trying again", zap.Error(err), zap.Duration("pause", clusterRetry))
	failed := &joined{settings: want, err: err}
	h.cluster.Store(failed)
	time.AfterFunc(clusterRetry, func() { h.clusterSteps.do(func() { h.retryCluster(failed) }) })
}

// retryCluster starts a cluster that could not be started, unless another configuration took effect meanwhile. It is a step.
func (h *Hub) retryCluster(failed *joined) {
	if now := h.InEffect(); now != nil && failed != nil && failed.pods == nil && h.cluster.Load() == failed && !h.Stopping() {
		h.startCluster(now, failed.settings)
	}
}

// RetryCluster tries now to start a cluster that could not be started, as the hub does by itself after a pause. It does
// nothing if there is no such cluster.
func (h *Hub) RetryCluster() { <-h.clusterSteps.do(func() { h.retryCluster(h.cluster.Load()) }) }

// announceSites tells the other pods which hosts are served, those of offered configurations included. It is a step.
func (h *Hub) announceSites() {
	if pods := h.Joined(); pods != nil {
		pods.SetSites(h.clusterSites())
	}
}

// clusterSites says which hosts are served, in the words of the cluster.
func (h *Hub) clusterSites() []message.Site {
	var sites []message.Site
	for _, s := range h.configs.Load().list {
		for _, of := range s.Sites {
			site := message.Site{}
			if of.Hosts != nil {
				site.Sets = [][]string{of.Hosts}
			}
			sites = append(sites, site)
		}
	}
	return sites
}

// drainCluster tells the other pods that this one is about to end.
func (h *Hub) drainCluster() {
	if pods := h.Joined(); pods != nil {
		pods.Drain()
	}
}

// endCluster says goodbye to the other pods, and waits for that no longer than the deadline or a moment.
func (h *Hub) endCluster(logger *zap.Logger, deadline time.Time) {
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
