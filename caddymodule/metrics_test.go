package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// scrape returns the metrics of this module as Prometheus reads them, a line each.
func scrape(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "caddy_rollcall_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprintf("%s{%s} %v", name, strings.Join(labels, ","), value))
		}
	}
	return strings.Join(lines, "\n")
}

func TestMetricsNameNobody(t *testing.T) {
	c := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}\nhttp://*.example.org {\n\trollcall {\n\t\tapi_key k\n\t}\n}")
	h := c.app.handlers[0]
	c.app.hub.Offer(c.snapshot())

	arrive(t, h, "portal.example.com", "canary-user", "canary@example.com", "canary-channel")
	arrive(t, h, "portal.example.com", "canary-user", "canary@example.com")
	arrive(t, h, "portal.example.com", "", "", "anonymous-canary")
	arrive(t, h, "canary.example.org", "", "", "anonymous-canary")
	post(t, h, "/message/users", `{"apiKey":"canary","channel":"canary"}`)
	post(t, h, "/message/users", `{"apiKey":"k","channel":"canary"}`)
	for i, host := range []string{"portal.example.com", "canary.example.org"} {
		const body = `{"apiKey":"k","channels":["canary"],"message":{"canary":1}}`
		serve(t, c.app.handlers[i], httptest.NewRequest(http.MethodPost, "http://"+host+"/message/sendmessage", strings.NewReader(body)))
	}
	r := httptest.NewRequest("CANARY", "http://canary.example.com/message/socket?canary", http.NoBody)
	r.Header.Set("Origin", "https://canary.example")
	serve(t, h, r)
	got := scrape(t, c.ctx.GetMetricsRegistry())
	if strings.Contains(strings.ToLower(got), "canary") {
		t.Errorf("the metrics name what a client sent:\n%s", got)
	}
	const want = `assignment_writes_total{result=limit} 0
assignment_writes_total{result=ok} 0
assignment_writes_total{result=unavailable} 0
assignments{} 0
assignments_unsaved{} 0
bytes_total{direction=in,host=_other} 0
bytes_total{direction=in,host=portal.example.com} 0
bytes_total{direction=out,host=_other} 0
bytes_total{direction=out,host=portal.example.com} 0
channels{host=_other} 1
channels{host=portal.example.com} 2
connections{host=_other,user=no} 1
connections{host=_other,user=yes} 0
connections{host=portal.example.com,user=no} 1
connections{host=portal.example.com,user=yes} 2
disconnects_total{host=_other,reason=panic} 0
disconnects_total{host=portal.example.com,reason=panic} 0
frames_total{direction=in,host=_other} 0
frames_total{direction=in,host=portal.example.com} 0
frames_total{direction=out,host=_other} 0
frames_total{direction=out,host=portal.example.com} 0
messages_delivered_total{host=_other} 0
messages_delivered_total{host=portal.example.com} 0
messages_total{from=backend,host=_other,result=ok} 1
messages_total{from=backend,host=portal.example.com,result=ok} 1
pusher_handshakes_total{client=java-client} 0
pusher_handshakes_total{client=js} 0
pusher_handshakes_total{client=other} 0
pusher_handshakes_total{client=pusher-dotnet-client} 0
pusher_handshakes_total{client=pusher-websocket-swift} 0
request_duration_seconds{code=200,endpoint=users} 1
request_duration_seconds{code=201,endpoint=sendmessage} 2
request_duration_seconds{code=401,endpoint=users} 1
revocations{} 0
upgrades_rejected_total{reason=method_not_allowed} 1
users{host=_other} 0
users{host=portal.example.com} 1`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each configuration has its own registry. A reload must not reset the metrics.
func TestMetricsSurviveAReload(t *testing.T) {
	const caddyfile = "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t}\n}"
	first := mustLoad(t, caddyfile)
	post(t, first.handler(t), "/message/users", `{"apiKey":"k"}`)
	second := mustLoad(t, caddyfile)
	if err := first.app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	post(t, second.handler(t), "/message/users", `{"apiKey":"k"}`)
	got := scrape(t, second.ctx.GetMetricsRegistry())
	if !strings.Contains(got, "request_duration_seconds{code=200,endpoint=users} 2") {
		t.Errorf("after a reload, the registry has\n%s", got)
	}
	m := newProcess()
	for range 2 {
		if err := m.register(prometheus.NewPedanticRegistry()); err != nil {
			t.Errorf("registering with a fresh registry: %v", err)
		}
	}
	r := prometheus.NewPedanticRegistry()
	for range 2 {
		if err := m.register(r); err != nil {
			t.Errorf("registering with the same registry again: %v", err)
		}
	}
}
