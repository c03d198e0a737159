package console

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// snapshot is what the page shows, as JSON. Besides the head, it has the parts of one view.
type snapshot struct {
	User     string   `json:"user"` // who looks at the page; "" for everybody
	All      bool     `json:"all"`  // the hosts of the whole process are shown
	Self     string   `json:"self"` // this pod, as DC/POD
	Complete bool     `json:"complete"`
	Missing  []string `json:"missing"` // pods whose part is not in the numbers
	Totals   totals   `json:"totals"`
	Error    string   `json:"error,omitempty"` // why the view is empty

	Hosts    *hostPage             `json:"hosts,omitempty"`
	Host     *operator.Host        `json:"host,omitempty"`
	Channels *operator.ChannelList `json:"channels,omitempty"`
	Users    *operator.Users       `json:"users,omitempty"`
	// Cut is the number of connections of Users and Found, and of channels of these, that are left
	// out.
	Cut     int             `json:"cut,omitempty"`
	Found   *operator.Found `json:"found,omitempty"`
	Traffic *trafficPage    `json:"traffic,omitempty"`
	Plugins *pluginPage     `json:"plugins,omitempty"`
	Queues  *queuePage      `json:"queues,omitempty"`
	Cluster *cluster.Report `json:"cluster,omitempty"`
}

type trafficPage struct {
	Hosts []gateway.Traffic `json:"hosts"`
	More  int               `json:"more"` // hosts that have no row
}

type pluginPage struct {
	Plugins []pluginRow        `json:"plugins"`
	Calls   []pluginhost.Calls `json:"calls"`
	More    int                `json:"more"` // rows that are left out
}

// pluginRow is a plugin for one host; Host is "" if no host has called it yet, or if it is shared.
type pluginRow struct {
	plugins.HostReport

	Plugin    string `json:"plugin"`
	SHA256    string `json:"sha256"`
	OnFailure string `json:"on_failure"`
	Shared    bool   `json:"shared"` // all hosts have the same instances and breaker
}

type queuePage struct {
	Copies []gateway.Queue `json:"copies"`
	Events []gateway.Queue `json:"events"`
}

// take makes a snapshot. stale is the age of the oldest part of it.
func (s *Server) take(ctx context.Context, v *Visit, q query) (snap snapshot, stale time.Duration) {
	hosts, taken := s.hosts.get(ctx, &s.cfg)
	snap = snapshot{User: v.User, All: v.All, Complete: hosts.Complete, Missing: append([]string{}, hosts.Missing...)}
	var page hostPage
	snap.Totals, page = selectHosts(hosts.Hosts, v.Sees, q)
	ended, cancel := context.WithCancel(ctx)
	cancel() // no pings of the other pods
	report := s.cfg.Pod.ClusterReport(ended)
	if len(report.Pods) > 0 {
		snap.Self = report.Pods[0].DataCenter + "/" + report.Pods[0].Pod
	}
	var err error
	switch q.view {
	case viewHosts:
		snap.Hosts = &page
	case viewTraffic:
		snap.Traffic = s.traffic(v, q)
	case viewPlugins:
		snap.Plugins = s.plugins(v)
	case viewQueues:
		snap.Queues = new(queuePage)
		snap.Queues.Copies, snap.Queues.Events = s.cfg.Pod.Queues(v.seesLabel, pageRows)
	case viewCluster:
		snap.Cluster = s.cluster(ctx, v)
	default:
		if !v.Sees(q.host) {
			err = operator.ErrNoHost
			break
		}
		host := find(hosts.Hosts, q.host.String())
		snap.Host = &host
		err = s.takeHost(ctx, q, &snap)
	}
	switch {
	case errors.Is(err, operator.ErrNoHost):
		snap.Error = "This console shows no such host."
	case errors.Is(err, operator.ErrNoChannel):
		snap.Error = "Nobody is in this channel, or it is hidden."
	case err != nil:
		snap.Error = "A plugin failed, so nobody is shown: see the server's log."
	}
	return snap, time.Since(taken)
}
