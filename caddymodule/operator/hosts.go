package operator

import (
	"context"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Hosts are the hosts that have connections, sorted by name.
type Hosts struct {
	Truth
	Hosts []Host `json:"hosts"`
}

// Host has the numbers of a host: sums over its pods.
type Host struct {
	Host          string    `json:"host"`
	Connections   int       `json:"connections"`
	Authenticated int       `json:"authenticated"` // connections with a user
	Anonymous     int       `json:"anonymous"`
	Pods          []HostPod `json:"pods"` // sorted by data center and name
}

// HostPod has the numbers of a host on a pod.
type HostPod struct {
	DataCenter    string `json:"data_center"`
	Pod           string `json:"pod"`
	Connections   int    `json:"connections"`
	Authenticated int    `json:"authenticated"`
	Anonymous     int    `json:"anonymous"`
	Users         int    `json:"users"`    // distinct users
	Channels      int    `json:"channels"` // active channels, without private ones
	Hidden        int    `json:"hidden"`   // the part of Channels that no listing has
}

// Hosts lists the hosts that the caller may see. If sees is nil, it may see all.
func (o *Operator) Hosts(ctx context.Context, sees func(presence.HostName) bool) Hosts {
	list, truth := o.pods.AllHosts(ctx, presence.HostName{})
	answer := Hosts{Truth: truthOf(truth), Hosts: []Host{}}
	for _, p := range list {
		if sees != nil && !sees(p.Host) {
			continue
		}
		name := p.Host.String()
		if n := len(answer.Hosts); n == 0 || answer.Hosts[n-1].Host != name {
			answer.Hosts = append(answer.Hosts, Host{Host: name})
		}
		pod := HostPod{
			DataCenter: p.DataCenter, Pod: p.Pod, Connections: int(p.LoggedIn + p.Anonymous), Authenticated: int(p.LoggedIn),
			Anonymous: int(p.Anonymous), Users: int(p.Users), Channels: int(p.Channels), Hidden: int(p.Hidden),
		}
		h := &answer.Hosts[len(answer.Hosts)-1]
		h.Connections += pod.Connections
		h.Authenticated += pod.Authenticated
		h.Anonymous += pod.Anonymous
		h.Pods = append(h.Pods, pod)
	}
	return answer
}
