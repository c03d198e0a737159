package gateway

import (
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// After a reload, a plugin logs to the logger of the new configuration.
func TestPluginsLogWhereTheConfigurationInEffectDoes(t *testing.T) {
	core := newLiveCore()
	logger := core.named("rollcall.plugin.mask").With(zap.String("host", "a"))
	logger.Error("before any configuration")
	if err := logger.Sync(); err != nil {
		t.Error(err)
	}
	first, firstLines := observer.New(zap.InfoLevel)
	second, secondLines := observer.New(zap.ErrorLevel)
	core.setTarget(zap.New(first), false)
	logger.Info("one", zap.Int("n", 1))
	logger.Debug("too fine")
	core.setTarget(zap.New(second), false) // is loaded, and not in effect
	logger.Info("two")
	core.setTarget(zap.New(second), true)
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
