package caddymodule

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// On a site for many hosts, a client chooses the name, so it is not a label.
func TestPluginMetricsNameConfiguredHostsOnly(t *testing.T) {
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(assemble(t, "rules"), "name named"))+
		pluginSite(t, "*.example.org", plugin(assemble(t, "rules"), "name wild"))+
		pluginSite(t, "shared.example.com", plugin(assemble(t, "rules"), "name common\nshared")))
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.app.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, h := range c.app.handlers {
		name := h.Plugins[0].Name
		host := map[string]string{"named": "portal.example.com", "wild": "canary.example.org", "common": "shared.example.com"}[name]
		conn := arrive(t, h, host, "", "", "openHouse")
		if err := conn.Join("trap", presence.WatchNone, ""); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var got string
	testkit.Eventually(t, "the instance that trapped is replaced", func() bool {
		got = scrape(t, c.ctx.GetMetricsRegistry())
		return strings.Contains(got, "plugin_instances{plugin=named,state=busy} 0")
	})
	if strings.Contains(got, "canary") {
		t.Errorf("a client's host is a label:\n%s", got)
	}
	for _, want := range []string{
		"plugin_calls_total{hook=classify,host=portal.example.com,plugin=named,result=ok} 1",
		"plugin_calls_total{hook=classify,host=portal.example.com,plugin=named,result=trap} 1",
		"plugin_calls_total{hook=authorize,host=portal.example.com,plugin=named,result=ok} 1",
		"plugin_calls_total{hook=classify,host=_other,plugin=wild,result=trap} 1",
		"plugin_calls_total{hook=classify,host=_shared,plugin=common,result=ok} 1",
		"plugin_restarts_total{plugin=named,reason=trap} 1",
		"plugin_loads_total{plugin=wild,result=ok} 1",
		"plugin_loads_total{plugin=wild,result=error} 0",
		"plugin_log_dropped_total{plugin=named} 0",
		"plugin_breaker_open{plugin=named} 0",
		"plugin_steps{hook=classify,plugin=named} 1",
		"plugin_memory_bytes{plugin=named} ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}
