package gateway

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
)

// A counter by host appears when it first counts.
func TestHostMetrics(t *testing.T) {
	h := newTestHub(t)
	t.Cleanup(func() {
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
	hosts := h.metrics.host("portal.example.com")
	hosts.joined("ok")
	hosts.joined(codeOf(errNoTokens))
	hosts.sent(fromClient, "not_joined")
	hosts.dropped(socket.ReasonSlow)
	for name, test := range map[string]struct {
		of     *prometheus.CounterVec
		labels []string
		want   map[string]uint64
	}{
		"joins":    {h.metrics.joins, []string{"host", "result"}, map[string]uint64{"portal.example.com bad_token": 1, "portal.example.com ok": 1}},
		"messages": {h.metrics.messages, []string{"host", "from", "result"}, map[string]uint64{"client portal.example.com not_joined": 1}},
		"drops":    {h.metrics.drops, []string{"host", "reason"}, map[string]uint64{"portal.example.com slow": 1, "portal.example.com panic": 0}},
	} {
		if got := countsBy(t, test.of, test.labels...); !maps.Equal(got, test.want) {
			t.Errorf("%s are %v, want %v", name, got, test.want)
		}
	}
}

func TestMetricsCountOpenSockets(t *testing.T) {
	h := newTestHub(t)
	t.Cleanup(func() {
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	})
	h.metrics.host("a").sockets.Open.Add(2)
	h.metrics.host("b").sockets.Open.Add(3)
	h.metrics.host("a").sockets.Open.Add(-1)
	if h.Connections() != 4 {
		t.Errorf("%d sockets are open, want 4", h.Connections())
	}
}
