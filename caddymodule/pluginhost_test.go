package caddymodule

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence"
)

// A plugin goes on through a reload, and then logs where the new configuration does.
func TestPluginsLogWhereTheConfigurationInEffectDoes(t *testing.T) {
	core := newLiveCore()
	logger := core.named("rollcall.plugin.mask").With(zap.String("host", "a"))
	logger.Error("before any configuration")
	if err := logger.Sync(); err != nil {
		t.Error(err)
	}
	first, firstLines := observer.New(zap.InfoLevel)
	second, secondLines := observer.New(zap.ErrorLevel)
	core.follow(zap.New(first), false)
	logger.Info("one", zap.Int("n", 1))
	logger.Debug("too fine")
	core.follow(zap.New(second), false) // is loaded, and not in effect
	logger.Info("two")
	core.follow(zap.New(second), true)
	logger.Info("too fine now")
	logger.Error("three")

	lines := func(logs *observer.ObservedLogs) []string {
		var texts []string
		for _, e := range logs.All() {
			texts = append(texts, e.LoggerName+" "+e.Message)
			if e.ContextMap()["host"] != "a" {
				t.Errorf("%s has the fields %v", e.Message, e.ContextMap())
			}
		}
		return texts
	}
	if got := lines(firstLines); !slices.Equal(got, []string{"rollcall.plugin.mask one", "rollcall.plugin.mask two"}) {
		t.Errorf("the first configuration logged %q", got)
	}
	if got := lines(secondLines); !slices.Equal(got, []string{"rollcall.plugin.mask three"}) {
		t.Errorf("the second configuration logged %q", got)
	}
	if n := firstLines.All()[0].ContextMap()["n"]; n != int64(1) {
		t.Errorf("the field n is %v", n)
	}
}

// A client chooses the names of hosts on a site for many, so they are no labels.
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
	eventually(t, "the instance that trapped is replaced", func() bool {
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
