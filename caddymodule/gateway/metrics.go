package gateway

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
)

// metrics are the metrics of the hub, so they survive a reload; each configuration registers them
// with its own registry. Labels are hosts that the configuration names, and fixed words: never a
// user, a channel or client input.
type metrics struct {
	hub      *Hub
	rejected *prometheus.CounterVec // handshakes, by reason
	joins    *prometheus.CounterVec // labels host and result: ok or an error code
	messages *prometheus.CounterVec // labels host, from and result
	drops    *prometheus.CounterVec // labels host and reason
	clusterMetrics

	// mu guards hosts. Its keys are host labels, and none is ever removed.
	mu    sync.Mutex
	hosts map[string]*hostMetrics
}

// hostMetrics are the metrics of one host label.
type hostMetrics struct {
	sockets   socket.Counters
	delivered atomic.Uint64 // messages, counted once for each connection

	joins, messages, drops *prometheus.CounterVec // curried with this label
}

// Senders of messages.
const (
	fromClient  = "client"
	fromBackend = "backend"
)

func (m *hostMetrics) sent(from string, result wire.Code) {
	m.messages.WithLabelValues(from, string(result)).Inc()
}

func (m *hostMetrics) joined(result wire.Code) { m.joins.WithLabelValues(string(result)).Inc() }

func (m *hostMetrics) dropped(reason socket.Reason) { m.drops.WithLabelValues(string(reason)).Inc() }

func newMetrics(h *Hub) *metrics {
	return &metrics{
		hub:            h,
		hosts:          make(map[string]*hostMetrics),
		clusterMetrics: newClusterMetrics(),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_rollcall_upgrades_rejected_total",
			Help: "Websocket handshakes that were not served, by reason.",
		}, []string{"reason"}),
		joins:    hostCounter("caddy_rollcall_joins_total", "Joins, by host and result: ok or an error code.", "result"),
		messages: hostCounter("caddy_rollcall_messages_total", "Messages sent to channels, by host, sender (client or backend) and result: ok or an error code.", "from", "result"),
		drops:    hostCounter("caddy_rollcall_disconnects_total", "Connections that ended, by host and reason.", "reason"),
	}
}

func hostCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"host"}, labels...))
}

// Collectors returns the metrics of everything that outlives a configuration.
func (h *Hub) Collectors() []prometheus.Collector {
	m := h.metrics
	return slices.Concat(
		[]prometheus.Collector{m, m.rejected, m.joins, m.messages, m.drops, m.queries, m.duration, h.Plugins},
		h.Assignments.Collectors(), h.copies.Collectors(h.hostsWith(hasBackend)),
		h.events.Collectors(h.knownReceivers),
		h.Asker.Collectors(h.hostsWith(asksBackend)),
	)
}

func hasBackend(of *site.Site) bool  { return of.Backend != nil }
func asksBackend(of *site.Site) bool { return of.Authorize != nil }

// hostsWith returns a function that returns the hosts that the configuration in effect names and
// whose site has a property.
func (h *Hub) hostsWith(has func(of *site.Site) bool) func() []string {
	return func() []string {
		var hosts []string
		if now := h.InEffect(); now != nil {
			for name, of := range now.Names() {
				if has(of) {
					hosts = append(hosts, name)
				}
			}
		}
		return hosts
	}
}

// host returns the metrics of a label.
func (m *metrics) host(label string) *hostMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[label]
	if h == nil {
		of := prometheus.Labels{"host": label}
		h = &hostMetrics{
			joins: m.joins.MustCurryWith(of), messages: m.messages.MustCurryWith(of), drops: m.drops.MustCurryWith(of),
		}
		h.drops.WithLabelValues(string(socket.ReasonPanic)) // at 0, so that increase() sees the first
		m.hosts[label] = h
	}
	return h
}

// open returns the number of open sockets, including those that are closing.
func (m *metrics) open() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n int64
	for _, h := range m.hosts {
		n += h.sockets.Open.Load()
	}
	return n
}

// Metrics that are read at a scrape.
var (
	connectionsDesc = hostDesc("caddy_rollcall_connections", "Websocket connections now, by host and whether they have a user.", "user")
	usersDesc       = hostDesc("caddy_rollcall_users", "Distinct users connected now, by host.")
	channelsDesc    = hostDesc("caddy_rollcall_channels", "Active channels now, private ones left out, by host.")
	deliveredDesc   = hostDesc("caddy_rollcall_messages_delivered_total", "Messages queued for connections of this pod, one for each that gets one, by host.")
	framesDesc      = hostDesc("caddy_rollcall_frames_total", "Websocket frames, by host and direction.", "direction")
	bytesDesc       = hostDesc("caddy_rollcall_bytes_total", "Websocket bytes, by host and direction: payload in, whole frames out.", "direction")
)

func hostDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"host"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connectionsDesc, usersDesc, channelsDesc, deliveredDesc, framesDesc, bytesDesc,
		clusterPodsDesc, clusterConnectedDesc, clusterIgnoredDesc, clusterResyncsDesc, clusterMessagesDesc, clusterDroppedDesc,
		clusterUnansweredDesc, clusterUnsentDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectPresence(ch)
	m.collectCluster(ch)
	m.mu.Lock()
	hosts := maps.Clone(m.hosts)
	m.mu.Unlock()
	for label, h := range hosts {
		counter := func(d *prometheus.Desc, v uint64, values ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{label}, values...)...)
		}
		counter(framesDesc, h.sockets.FramesIn.Load(), "in")
		counter(framesDesc, h.sockets.FramesOut.Load(), "out")
		counter(bytesDesc, h.sockets.BytesIn.Load(), "in")
		counter(bytesDesc, h.sockets.BytesOut.Load(), "out")
		counter(deliveredDesc, h.delivered.Load())
	}
}

// collectPresence reads the registry, so that these metrics agree with the listings.
func (m *metrics) collectPresence(ch chan<- prometheus.Metric) {
	type numbers struct{ loggedIn, anonymous, users, channels int }
	byLabel := make(map[string]numbers)
	if now := m.hub.InEffect(); now != nil {
		for name := range now.Names() {
			byLabel[name] = numbers{}
		}
		for _, host := range m.hub.Registry.Hosts() {
			s, label := host.Stats(), now.Label(host.Name())
			n := byLabel[label]
			n.loggedIn += s.LoggedIn
			n.anonymous += s.Anonymous
			n.users += s.Users
			n.channels += s.Channels
			byLabel[label] = n
		}
	}
	for label, n := range byLabel {
		gauge := func(d *prometheus.Desc, v int, values ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), append([]string{label}, values...)...)
		}
		gauge(connectionsDesc, n.loggedIn, "yes")
		gauge(connectionsDesc, n.anonymous, "no")
		gauge(usersDesc, n.users)
		gauge(channelsDesc, n.channels)
	}
}
