package gateway

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Traffic has the counters of one host label on this pod since the start of the process.
type Traffic struct {
	Host        string             `json:"host"`        // the host, or _other, as in the metrics
	Received    uint64             `json:"received"`    // frames of clients
	Delivered   uint64             `json:"delivered"`   // messages, once for each connection
	Messages    map[string]float64 `json:"messages"`    // messages sent to channels, by sender and result, as in `client ok`
	Joins       map[string]float64 `json:"joins"`       // by result: ok or an error code
	Disconnects map[string]float64 `json:"disconnects"` // connections that ended, by reason
}

// Traffic returns the counters of the host labels of which wanted returns true, sorted by host.
func (h *Hub) Traffic(wanted func(label string) bool) []Traffic {
	m := h.metrics
	m.mu.Lock()
	hosts := maps.Clone(m.hosts)
	m.mu.Unlock()
	list := []Traffic{}
	byHost := make(map[string]*Traffic)
	for _, label := range slices.Sorted(maps.Keys(hosts)) {
		if wanted(label) {
			list = append(list, Traffic{
				Host: label, Received: hosts[label].sockets.FramesIn.Load(), Delivered: hosts[label].delivered.Load(),
				Messages: map[string]float64{}, Joins: map[string]float64{}, Disconnects: map[string]float64{},
			})
		}
	}
	for i := range list {
		byHost[list[i].Host] = &list[i]
	}
	read := func(c prometheus.Collector, of func(*Traffic) map[string]float64) {
		visitCounters(c, func(host, labels string, n float64) {
			if t := byHost[host]; t != nil && n > 0 {
				of(t)[labels] = n
			}
		})
	}
	read(m.messages, func(t *Traffic) map[string]float64 { return t.Messages })
	read(m.joins, func(t *Traffic) map[string]float64 { return t.Joins })
	read(m.drops, func(t *Traffic) map[string]float64 { return t.Disconnects })
	return list
}

// visitCounters calls visit for each counter of a vector, with its host and the values of its other
// labels in the order of their names.
func visitCounters(c prometheus.Collector, visit func(host, labels string, n float64)) {
	ch := make(chan prometheus.Metric)
	go func() { // ends with the vector
		c.Collect(ch)
		close(ch)
	}()
	for metric := range ch {
		var read dto.Metric
		if metric.Write(&read) != nil {
			continue
		}
		var host string
		var labels []string
		for _, pair := range read.GetLabel() {
			if pair.GetName() == "host" {
				host = pair.GetValue()
			} else {
				labels = append(labels, pair.GetValue())
			}
		}
		visit(host, strings.Join(labels, " "), read.GetCounter().GetValue())
	}
}

// NamedHosts returns the hosts that the configuration in effect names in full, in no order.
func (h *Hub) NamedHosts() []presence.HostName {
	now := h.InEffect()
	if now == nil {
		return nil
	}
	var hosts []presence.HostName
	for name := range now.Names() {
		if host, err := presence.ParseHostName(name); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Queue is what waits on this pod for a backend: copies of messages, or events.
type Queue struct {
	Host        string    `json:"host"`
	Receiver    string    `json:"receiver"` // number of the URL of events, as in the metrics; "" for copies
	Waiting     int       `json:"waiting"`
	Bytes       int64     `json:"bytes"`
	Oldest      time.Time `json:"oldest,omitzero"`        // to 10 s
	FailedAt    time.Time `json:"failed_at,omitzero"`     // time of the last attempt that failed
	LastFailure string    `json:"last_failure,omitempty"` // reason of that attempt, without the URL
}

// Queues returns the queues of the hosts of which wanted returns true, sorted, at most limit. An
// empty queue can be missing.
func (h *Hub) Queues(wanted func(host string) bool, limit int) (copied, events []Queue) {
	return queuesOf(h.copies.Keeper, wanted, limit, func(backend.Stream) string { return "" }),
		queuesOf(h.events.Keeper, wanted, limit, h.numberOf)
}

// numberOf returns the number of the receiver of a stream, "" if it is no longer configured.
func (h *Hub) numberOf(of backend.Stream) string {
	for _, r := range h.receivers(of.Host) {
		if r.ID == of.Receiver {
			return r.Number
		}
	}
	return ""
}

func queuesOf(keeper *backend.Keeper, wanted func(host string) bool, limit int, receiver func(backend.Stream) string) []Queue {
	list := []Queue{}
	courier := keeper.Courier()
	if courier == nil {
		return list
	}
	streams := make(map[backend.Stream]backend.Waiting)
	courier.Waiting(func(of backend.Stream, w backend.Waiting) {
		if wanted(of.Host.String()) {
			streams[of] = w
		}
	})
	for of, w := range streams {
		list = append(list, Queue{
			Host: of.Host.String(), Receiver: receiver(of), Waiting: w.Messages, Bytes: w.Bytes, Oldest: w.Oldest,
			FailedAt: w.Failure.At, LastFailure: w.Failure.Text,
		})
	}
	slices.SortFunc(list, func(a, b Queue) int { return strings.Compare(a.Host+" "+a.Receiver, b.Host+" "+b.Receiver) })
	return list[:min(len(list), limit)]
}
