package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Pods are the processes of the deployment, this one included: a [cluster.Cluster], or what stands for it in a test.
type Pods interface {
	SetSites(sites []message.Site)
	Ready() bool
	Drain()
	Close() error
	AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]cluster.DataCenter, cluster.Truth)
	Users(
		ctx context.Context, host presence.HostName, scope cluster.Scope, per presence.Per,
	) ([]presence.Listing, cluster.Truth)
	ChannelUsers(
		ctx context.Context, host presence.HostName, scope cluster.Scope, channel string, per presence.Per,
	) ([]presence.Listing, cluster.Truth)
	Channels(ctx context.Context, host presence.HostName, scope cluster.Scope) ([]presence.Listing, cluster.Truth)
	Explain(ctx context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth)
	Spread(ctx context.Context, host presence.HostName, records []assignment.Record) cluster.Truth
	Report(ctx context.Context) cluster.Report
}

var (
	_ Pods          = (*cluster.Cluster)(nil)
	_ cluster.Local = (*Hub)(nil)
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

// clusterRetry is the pause before a cluster that could not be started is tried again.
const clusterRetry = 5 * time.Second

// others returns the pods to ask about more than this one, nil when there are none to ask. It reports whether this pod is
// all there is: a site that belongs to a cluster which is not there yet must not answer as if it were alone.
func (h *Hub) others(of *site.Site) (others Pods, alone bool) {
	now := h.cluster.Load()
	if now == nil {
		return nil, !of.Clustered
	}
	return now.pods, false
}

// Asked returns the pods that a question of a scope goes to, or nil and what the answer of this one is worth.
func (h *Hub) Asked(of *site.Site, scope cluster.Scope) (Pods, cluster.Truth) {
	others, alone := h.others(of)
	if others != nil && scope != cluster.ScopePod {
		return others, cluster.Truth{}
	}
	return nil, cluster.Truth{Complete: alone || others != nil || scope == cluster.ScopePod}
}

// Spread tells the other pods of changes of assignments, and returns who has them.
func (h *Hub) Spread(ctx context.Context, of *site.Site, host presence.HostName, records []assignment.Record) cluster.Truth {
	others, alone := h.others(of)
	if others == nil {
		return cluster.Truth{Complete: alone}
	}
	return others.Spread(ctx, host, records)
}

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

// applyCluster makes this pod part of the cluster that the configuration in effect asks for. The caller holds applying.
func (h *Hub) applyCluster(now *Configuration) {
	h.follow()
	want, old := now.Cluster, h.cluster.Load()
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

// startCluster joins the cluster, or tries to after a while. The caller holds applying.
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
	time.AfterFunc(clusterRetry, func() { h.retryCluster(failed) })
}

// retryCluster starts a cluster that could not be started, unless another configuration took effect meanwhile.
func (h *Hub) retryCluster(failed *joined) {
	h.applying.Lock()
	defer h.applying.Unlock()
	if now := h.InEffect(); now != nil && failed != nil && failed.pods == nil && h.cluster.Load() == failed && !h.Stopping() {
		h.startCluster(now, failed.settings)
	}
}

// RetryCluster tries now to start a cluster that could not be started, as the hub does by itself after a pause. It does
// nothing if there is no such cluster.
func (h *Hub) RetryCluster() { h.retryCluster(h.cluster.Load()) }

// Joined returns the pods of the cluster, nil while this pod is alone or its cluster is not started.
func (h *Hub) Joined() Pods {
	if now := h.cluster.Load(); now != nil {
		return now.pods
	}
	return nil
}

// drainCluster tells the other pods that this one is about to end.
func (h *Hub) drainCluster() {
	if pods := h.Joined(); pods != nil {
		pods.Drain()
	}
}

// endCluster says goodbye to the other pods, and waits for that no longer than the deadline or a moment.
func (h *Hub) endCluster(logger *zap.Logger, deadline time.Time) {
	old := h.cluster.Swap(nil)
	if old == nil {
		return
	}
	done := make(chan struct{})
	go func() { // ends with Close, which has bounds of its own
		defer close(done)
		h.closePods(old, logger)
	}()
	const moment = 500 * time.Millisecond
	select {
	case <-done:
	case <-time.After(max(moment, time.Until(deadline))):
	}
}

func (h *Hub) closePods(old *joined, logger *zap.Logger) {
	if old.pods == nil {
		return
	}
	if err := old.pods.Close(); err != nil {
		logger.Error("closing the cluster", zap.Error(err))
	}
}

// follow takes note of the configurations that connections can come by: those that are offered too, for Caddy listens
// for one before it takes effect, and the last one until its connections are drained.
func (h *Hub) follow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stack) > 0 {
		stack := slices.Clone(h.stack)
		h.serving.Store(&stack)
	}
}

// configurations returns what follow took note of.
func (h *Hub) configurations() []*Configuration {
	if stack := h.serving.Load(); stack != nil {
		return *stack
	}
	return nil
}

// offerSites tells the other pods of the hosts of a configuration that was offered.
func (h *Hub) offerSites() {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.follow()
	if pods := h.Joined(); pods != nil {
		pods.SetSites(h.clusterSites())
	}
}

// clusterSites says which hosts are served, in the words of the cluster.
func (h *Hub) clusterSites() []message.Site {
	var sites []message.Site
	for _, s := range h.configurations() {
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

// Serves implements cluster.Local.
func (h *Hub) Serves(host presence.HostName) bool {
	return slices.ContainsFunc(h.configurations(), func(s *Configuration) bool { return s.Find(host) != nil })
}

// Connections implements cluster.Local.
func (h *Hub) Connections() int { return int(h.metrics.open()) }

// Ready reports whether the pod can answer for all that its configuration asks for.
func (h *Hub) Ready() bool {
	if now := h.cluster.Load(); now != nil {
		return now.pods != nil && now.pods.Ready()
	}
	return h.alone()
}

// alone reports whether the configuration in effect asks for no cluster. One that it asks for is not there for a moment
// after the start, when requests are answered already.
func (h *Hub) alone() bool {
	now := h.InEffect()
	return now == nil || now.Cluster == nil
}

// errNotJoined is what a report says of a cluster that is not started yet.
var errNotJoined = errors.New("not joined yet")

// ClusterReport says how the deployment looks from here. A pod without a cluster is a deployment of one.
func (h *Hub) ClusterReport(ctx context.Context) cluster.Report {
	now := h.cluster.Load()
	if now != nil && now.pods != nil {
		return now.pods.Report(ctx)
	}
	r := cluster.Report{Ready: now == nil && h.alone(), Pods: []cluster.PodReport{}}
	if serving := h.configurations(); len(serving) > 0 {
		r.Pods = append(r.Pods, cluster.PodReport{
			DataCenter: serving[0].DataCenter, Pod: serving[0].Pod, State: "self",
			Started:     h.started.UTC().Format(time.RFC3339),
			Connections: uint64(h.Connections()), Hosts: uint64(h.Registry.Len()),
		})
	}
	if now != nil {
		r.Name = now.settings.Name
		err := now.err
		if err == nil {
			err = errNotJoined
		}
		r.Bus.Embedded, r.Bus.LastError = now.settings.Bus.Listen != "", err.Error()
	}
	return r
}

// ExplainAll asks every pod for the connections of a user.
func (h *Hub) ExplainAll(ctx context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth) {
	now, serving := h.cluster.Load(), h.configurations()
	if now != nil && now.pods != nil {
		return now.pods.Explain(ctx, host, user)
	}
	if len(serving) == 0 {
		return nil, cluster.Truth{Complete: true}
	}
	var conns []cluster.PodConnection
	for _, c := range h.Explain(host, user) {
		conns = append(conns, cluster.PodConnection{DataCenter: serving[0].DataCenter, Pod: serving[0].Pod, Connection: c})
	}
	return conns, cluster.Truth{Complete: now == nil && h.alone()}
}
