package caddymodule

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
)

// metrics are the numbers for Prometheus. They belong to the hub, so they go on through a reload; each configuration
// registers them with its own registry. Labels are hosts that the configuration names, and fixed words: never a user, a
// channel, or what a client sends.
type metrics struct {
	hub      *hub
	requests *prometheus.HistogramVec
	rejected *prometheus.CounterVec
	clusterMetrics

	// mu guards hosts, which only grows, with the hosts that configurations name.
	mu    sync.Mutex
	hosts map[string]*hostMetrics
}

// hostMetrics are the numbers of one host.
type hostMetrics struct {
	sockets socket.Counters
	copies  copyCounters

	delivered atomic.Uint64 // messages, to each connection

	mu       sync.Mutex
	joins    map[string]uint64 // by result: ok or an error code
	messages map[sentMessage]uint64
	drops    map[socket.Reason]uint64
}

// sentMessage is what messages are counted by.
type sentMessage struct {
	from   string
	result wire.Code // ok or an error code
}

// Who sends messages.
const (
	fromClient  = "client"
	fromBackend = "backend"
)

func (m *hostMetrics) sent(from string, result wire.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages[sentMessage{from, result}]++
}

func (m *hostMetrics) joined(result wire.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joins[string(result)]++
}

func (m *hostMetrics) dropped(reason socket.Reason) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops[reason]++
}

func newMetrics(h *hub) *metrics {
	return &metrics{
		hub:            h,
		hosts:          make(map[string]*hostMetrics),
		clusterMetrics: newClusterMetrics(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_rollcall_request_duration_seconds",
			Help:    "How long the endpoints took to answer, by endpoint and HTTP status.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"endpoint", "code"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_rollcall_upgrades_rejected_total",
			Help: "Websocket handshakes that were not served, by reason.",
		}, []string{"reason"}),
	}
}

// register makes the numbers part of a configuration's metrics.
func (m *metrics) register(r *prometheus.Registry) error {
	collectors := []prometheus.Collector{m.requests, m.rejected, m.queries, m.duration, m}
	for _, c := range append(collectors, m.hub.assignments.collectors()...) {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// host returns the numbers for a label.
func (m *metrics) host(label string) *hostMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[label]
	if h == nil {
		h = &hostMetrics{
			joins:    make(map[string]uint64),
			messages: make(map[sentMessage]uint64),
			drops:    make(map[socket.Reason]uint64),
		}
		m.hosts[label] = h
	}
	return h
}

// open returns how many sockets are open, those included that are taking leave.
func (m *metrics) open() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n int64
	for _, h := range m.hosts {
		n += h.sockets.Open.Load()
	}
	return n
}

func (m *metrics) answered(endpoint string, status int, start time.Time) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
}

// What is read at the moment of a scrape.
var (
	connectionsDesc = hostDesc("connections", "Websocket connections now, by host and whether they have a user.", "user")
	usersDesc       = hostDesc("users", "Distinct users connected now, by host.")
	channelsDesc    = hostDesc("channels", "Active channels now, private ones left out, by host.")
	joinsDesc       = hostDesc("joins_total", "Joins, by host and result: ok or an error code.", "result")
	messagesDesc    = hostDesc("messages_total", "Messages sent to channels, by host, sender (client or backend) and result: ok or an error code.", "from", "result")
	deliveredDesc   = hostDesc("messages_delivered_total", "Messages queued for connections of this pod, one for each that gets one, by host.")
	dropsDesc       = hostDesc("disconnects_total", "Connections that ended, by host and reason.", "reason")
	framesDesc      = hostDesc("frames_total", "Websocket frames, by host and direction.", "direction")
	bytesDesc       = hostDesc("bytes_total", "Websocket bytes, by host and direction: payload in, whole frames out.", "direction")
)

func hostDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_rollcall_"+name, help, append([]string{"host"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connectionsDesc, usersDesc, channelsDesc, joinsDesc, messagesDesc, deliveredDesc, dropsDesc, framesDesc, bytesDesc,
		pluginCallsDesc, pluginStepsDesc, pluginInstancesDesc, pluginMemoryDesc, pluginRestartsDesc,
		pluginBreakerDesc, pluginLogDesc, pluginLoadsDesc,
		clusterPodsDesc, clusterConnectedDesc, clusterIgnoredDesc, clusterResyncsDesc, clusterMessagesDesc, clusterDroppedDesc,
		backendWaitingDesc, backendBytesDesc, backendOldestDesc, backendDeliveredDesc, backendFailedDesc,
		backendRefusedDesc, backendDroppedDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectPresence(ch)
	m.hub.plugins.collect(ch)
	m.collectCluster(ch)
	m.collectWaiting(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	for label, h := range m.hosts {
		counter := func(d *prometheus.Desc, v uint64, values ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{label}, values...)...)
		}
		counter(framesDesc, h.sockets.FramesIn.Load(), "in")
		counter(framesDesc, h.sockets.FramesOut.Load(), "out")
		counter(bytesDesc, h.sockets.BytesIn.Load(), "in")
		counter(bytesDesc, h.sockets.BytesOut.Load(), "out")
		counter(deliveredDesc, h.delivered.Load())
		h.copies.collect(ch, label)
		h.mu.Lock()
		for result, n := range h.joins {
			counter(joinsDesc, n, result)
		}
		for m, n := range h.messages {
			counter(messagesDesc, n, m.from, string(m.result))
		}
		for reason, n := range h.drops {
			counter(dropsDesc, n, string(reason))
		}
		h.mu.Unlock()
	}
}

// collectPresence reports what the registry says, so that these numbers cannot drift from the listings.
func (m *metrics) collectPresence(ch chan<- prometheus.Metric) {
	type numbers struct{ loggedIn, anonymous, users, channels int }
	byLabel := make(map[string]numbers)
	if now := m.hub.current(); now != nil {
		for name := range now.names() {
			byLabel[name] = numbers{}
		}
		for _, host := range m.hub.registry.Hosts() {
			s, label := host.Stats(), now.label(host.Name())
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
