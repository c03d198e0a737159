package console

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Between two snapshots is at least the interval, and at least patience times the time that the
// last one took: so an open page costs a small part of one processor, however much there is to
// show.
const (
	interval = time.Second
	patience = 5
)

// restAfter returns how long to wait after work. If a pod did not reply, the work consisted of
// waiting for it, and what comes of it must be seen soon.
func restAfter(took time.Duration, complete bool) time.Duration {
	if !complete {
		return took
	}
	return patience * took
}

// sharedHosts has the numbers of all hosts, which every stream needs. They are asked for once for
// all streams.
type sharedHosts struct {
	// mu guards the fields below. It is held while pods are asked, which takes as long as a query
	// may.
	mu    sync.Mutex
	taken time.Time // time at which the numbers were asked for
	until time.Time // time from which they are asked for again
	hosts operator.Hosts
}

// get returns the hosts, and the time at which they were asked for. They must not be changed.
func (h *sharedHosts) get(ctx context.Context, c *Config) (operator.Hosts, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if start := time.Now(); !start.Before(h.until) {
		// Not with the context of one request: the numbers are for all.
		h.hosts, h.taken = c.Operator.Hosts(context.WithoutCancel(ctx), nil), start
		h.hosts.Hosts = withNamed(h.hosts.Hosts, c.Pod.NamedHosts())
		took := time.Since(start)
		h.until = start.Add(max(interval/2, took+restAfter(took, h.hosts.Complete)))
	}
	return h.hosts, h.taken
}

// withNamed adds the named hosts that nobody is connected to.
func withNamed(hosts []operator.Host, named []presence.HostName) []operator.Host {
	there := make(map[string]bool, len(hosts))
	for i := range hosts {
		there[hosts[i].Host] = true
	}
	for _, name := range named {
		if !there[name.String()] {
			hosts = append(hosts, operator.Host{Host: name.String(), Pods: []operator.HostPod{}})
		}
	}
	slices.SortFunc(hosts, func(a, b operator.Host) int { return strings.Compare(a.Host, b.Host) })
	return hosts
}

// totals are the sums over all hosts that are shown.
type totals struct {
	Hosts         int `json:"hosts"`
	Connections   int `json:"connections"`
	Authenticated int `json:"authenticated"`
	Anonymous     int `json:"anonymous"`
}

// hostPage is one page of hosts.
type hostPage struct {
	Hosts []operator.Host `json:"hosts"`
	Next  string          `json:"next"` // "" on the last page
}

// selectHosts returns the sums over the hosts that are seen, and those of the page of the query.
func selectHosts(all []operator.Host, sees func(presence.HostName) bool, q query) (t totals, page hostPage) {
	page.Hosts = []operator.Host{}
	for i := range all {
		h := &all[i]
		name, err := presence.ParseHostName(h.Host)
		if err != nil || !sees(name) {
			continue
		}
		t.Hosts++
		t.Connections += h.Connections
		t.Authenticated += h.Authenticated
		t.Anonymous += h.Anonymous
		if h.Host <= q.after || !strings.Contains(h.Host, q.filter) || page.Next != "" {
			continue
		}
		if len(page.Hosts) == pageRows {
			page.Next = page.Hosts[pageRows-1].Host
			continue
		}
		page.Hosts = append(page.Hosts, *h)
	}
	return t, page
}

// find returns the host with the name; zero except for its name if it has no connections.
func find(all []operator.Host, name string) operator.Host {
	for i := range all {
		if all[i].Host == name {
			return all[i]
		}
	}
	return operator.Host{Host: name, Pods: []operator.HostPod{}}
}
