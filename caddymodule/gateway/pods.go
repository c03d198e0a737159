package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Pods are the pods of the deployment, including this one: a [cluster.Cluster], or its replacement
// in a test.
type Pods interface {
	SetSites(sites []message.Site)
	Ready() bool
	Begins(host presence.HostName) bool
	Drain()
	Change(ctx context.Context, cfg cluster.Config) error
	Activate()
	Leave(back bool) error
	Close() error
	AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]cluster.DataCenter, cluster.Truth)
	Users(
		ctx context.Context, host presence.HostName, scope cluster.Scope, per presence.Per, page presence.Page,
	) (list []presence.Listing, next string, truth cluster.Truth)
	ChannelUsers(
		ctx context.Context, host presence.HostName, scope cluster.Scope, channel string, per presence.Per,
	) ([]presence.Listing, cluster.Truth)
	Channels(ctx context.Context, host presence.HostName, scope cluster.Scope) ([]presence.Listing, cluster.Truth)
	Explain(ctx context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth)
	Hosts(ctx context.Context, host presence.HostName) ([]cluster.PodHost, cluster.Truth)
	Listeners(
		ctx context.Context, host presence.HostName, l presence.Listeners,
	) (of []presence.Listing, list []cluster.PodListener, next string, truth cluster.Truth)
	LastEvent(ctx context.Context, host presence.HostName, channel string) (presence.LastEvent, bool, cluster.Truth)
	Online(ctx context.Context, host presence.HostName, users []string) ([]cluster.OnlineUser, cluster.Truth)
	Disconnect(ctx context.Context, host presence.HostName, channel string, call *cluster.Call) (int, cluster.Truth)
	LeaveChannels(ctx context.Context, host presence.HostName, call *cluster.Call) (int, cluster.Truth)
	Spread(ctx context.Context, host presence.HostName, records []assignment.Record) cluster.Truth
	Forget(dataCenter, pod string) error
	Report(ctx context.Context) cluster.Report
}

var (
	_ Pods          = (*cluster.Cluster)(nil)
	_ cluster.Local = (*Hub)(nil)
)

// others returns the pods to ask, or nil if this pod asks no other. It reports whether this pod is
// alone: a site whose cluster has not started must not answer as if it were.
func (h *Hub) others(of *site.Site) (others Pods, alone bool) {
	now := h.cluster.Load()
	if now == nil && of.Clustered {
		now = h.awaitCluster()
	}
	if now == nil {
		return nil, !of.Clustered
	}
	return now.pods, false
}

// PodsToAsk returns the pods that answer a request of the scope. If this pod alone answers, it
// returns nil and whether that answer is complete.
func (h *Hub) PodsToAsk(of *site.Site, scope cluster.Scope) (Pods, cluster.Truth) {
	others, alone := h.others(of)
	if others != nil && scope != cluster.ScopePod {
		return others, cluster.Truth{}
	}
	return nil, cluster.Truth{Complete: alone || others != nil || scope == cluster.ScopePod}
}

// Spread sends changes of assignments to the other pods, and returns which of them have confirmed.
func (h *Hub) Spread(ctx context.Context, of *site.Site, host presence.HostName, records []assignment.Record) cluster.Truth {
	others, alone := h.others(of)
	if others == nil {
		return cluster.Truth{Complete: alone}
	}
	return others.Spread(ctx, host, records)
}

// Joined returns the pods of the cluster, or nil while there is none or it is not started.
func (h *Hub) Joined() Pods {
	if now := h.cluster.Load(); now != nil {
		return now.pods
	}
	return nil
}

// ErrNoCluster is returned for an operation on other pods by a pod that knows none.
var ErrNoCluster = errors.New("this pod has no cluster, or could not start it: ask another pod")

// Forget ends a pod that is missing and will not come back, see [cluster.Cluster.Forget]. It
// returns ErrNoCluster if this pod is alone.
func (h *Hub) Forget(dataCenter, pod string) error {
	pods := h.Joined()
	if pods == nil {
		return ErrNoCluster
	}
	return pods.Forget(dataCenter, pod)
}

// Connections implements cluster.Local.
func (h *Hub) Connections() int { return int(h.metrics.open()) }

// Ready reports whether the cluster that the configuration asks for, if any, is ready to answer.
func (h *Hub) Ready() bool {
	if now := h.cluster.Load(); now != nil {
		return now.pods != nil && now.pods.Ready()
	}
	return h.alone()
}

// alone reports whether the configuration in effect asks for no cluster. For a moment after the
// start, requests are served although its cluster is not joined.
func (h *Hub) alone() bool {
	now := h.InEffect()
	return now == nil || now.Cluster == nil
}

// errNotJoined is the error in a report while the cluster is not started.
var errNotJoined = errors.New("not joined yet")

// ClusterReport describes the deployment as this pod sees it. A pod without a cluster is a
// deployment of one.
func (h *Hub) ClusterReport(ctx context.Context) cluster.Report {
	now := h.cluster.Load()
	if now != nil && now.pods != nil {
		return now.pods.Report(ctx)
	}
	r := cluster.Report{Ready: now == nil && h.alone(), Pods: []cluster.PodReport{}}
	if self := h.configs.Load().latest(); self != nil {
		r.Pods = append(r.Pods, cluster.PodReport{
			DataCenter: self.DataCenter, Pod: self.Pod, State: "self",
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

// ExplainAll returns the connections of a user on all pods.
func (h *Hub) ExplainAll(ctx context.Context, host presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth) {
	pods, self, truth := h.everyone()
	if pods != nil {
		return pods.Explain(ctx, host, user)
	}
	var conns []cluster.PodConnection
	for _, c := range h.Explain(host, user) {
		conns = append(conns, cluster.PodConnection{DataCenter: self.DataCenter, Pod: self.Pod, Connection: c})
	}
	return conns, truth
}
