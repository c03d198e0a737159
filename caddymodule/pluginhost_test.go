package caddymodule

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/plugins"
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
		name := h.plugins.plugins[0].spec.Name
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

// hash returns the hash of the only plugin of a configuration.
func (c configured) hash(t testing.TB) string {
	t.Helper()
	return c.handler(t).site.chain.Plugins()[0].Hash()
}

func TestWatcherWaitsUntilItsConfigurationIsInEffect(t *testing.T) {
	path := assemble(t, "rules")
	text := pluginSite(t, "portal.example.com", plugin(path, "watch"))
	first, second := mustLoad(t, text), mustLoad(t, text)
	for _, c := range []configured{first, second} {
		if err := c.app.Start(); err != nil {
			t.Fatal(err)
		}
		c.app.watcher.stop() // the test looks itself
	}
	look := func(c configured) { c.app.watcher.lookAtAll(context.Background()) }
	before := second.hash(t)
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	look(second)
	if second.hash(t) != before {
		t.Error("a configuration that is not in effect has the new file")
	}
	look(first)
	if first.hash(t) == before {
		t.Error("the configuration in effect has the old file")
	}
	if err := first.app.Stop(); err != nil {
		t.Fatal(err)
	}
	look(second)
	if second.hash(t) != first.hash(t) {
		t.Error("the configuration that came into effect has the old file")
	}
	if err := second.app.Stop(); err != nil {
		t.Fatal(err)
	}
}

// The goroutine of a configuration ends with it.
func TestWatcherStopsWithItsConfiguration(t *testing.T) {
	path := assemble(t, "rules")
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(path, "watch")))
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	before := c.hash(t)
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	eventually(t, "the new file is loaded", func() bool { return c.hash(t) != before })
	if err := c.app.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.app.watcher.done:
	default:
		t.Error("it runs on")
	}
}

// replace puts a file in the place of another.
func replace(t testing.TB, path, by string) {
	t.Helper()
	if err := os.Rename(by, path); err != nil {
		t.Fatal(err)
	}
}

// watched is a file that a test looks at in steps, as the watcher does.
func watched(t *testing.T, c configured) (*pluginWatcher, *watchedFile) {
	t.Helper()
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.app.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := c.app.watcher
	w.stop() // the test looks itself
	return w, w.files[0]
}

func TestWatcherTellsOnceOfAFileThatStaysBroken(t *testing.T) {
	path := assemble(t, "rules")
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(path, "watch")))
	w, f := watched(t, c)
	logs, lines := observer.New(zap.InfoLevel)
	c.handler(t).plugins.logger = zap.New(logs)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	if err != nil {
		t.Fatal(err)
	}
	before := c.hash(t)
	steps := []struct {
		name    string
		content []byte // nil: the file stays as it is
		want    []string
		swapped bool
	}{
		{"nothing", nil, nil, false},
		{"a half", other[:100], nil, false},
		{"another half", other[:200], nil, false},
		{"the same half again", nil, []string{"changed plugin not loaded, the one before serves on"}, false},
		{"and again", nil, nil, false},
		{"written again", other[:200], nil, false},
		{"the whole", other, []string{"changed plugin loaded"}, true},
		{"the whole again", other, nil, true},
		{"empty", []byte{}, nil, true},
		{"empty still", nil, []string{"changed plugin not loaded, the one before serves on"}, true},
		{"as at first", good, []string{"changed plugin loaded"}, false},
	}
	for _, step := range steps {
		if step.content != nil {
			if err := os.WriteFile(path, step.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.look(context.Background(), f)
		var got []string
		for _, e := range lines.TakeAll() {
			got = append(got, e.Message)
		}
		if !slices.Equal(got, step.want) || (c.hash(t) != before) != step.swapped {
			t.Errorf("%s: logged %q, want %q; swapped %t", step.name, got, step.want, c.hash(t) != before)
		}
	}
}

func TestWatcherKeepsAPluginWhoseFileIsGone(t *testing.T) {
	path := assemble(t, "rules")
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(path, "watch")))
	w, f := watched(t, c)
	logs, lines := observer.New(zap.InfoLevel)
	c.handler(t).plugins.logger = zap.New(logs)
	before := c.hash(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.look(context.Background(), f)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.look(context.Background(), f)
	}
	if all := lines.All(); len(all) != 2 || all[0].Level != zap.ErrorLevel || c.hash(t) != before {
		t.Errorf("logged %v", all)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	w.look(context.Background(), f)
	if c.hash(t) == before {
		t.Error("the file that is back was not loaded")
	}
}

func TestWatcherRefusesAPluginThatRefusesItsConfiguration(t *testing.T) {
	path := assemble(t, "shape")
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(path, "watch")))
	w, f := watched(t, c)
	before := c.hash(t)
	replace(t, path, assemble(t, "shape", "(i32.const 0x72)", "(i32.const 0x70)")) // hosts that begin with p
	w.look(context.Background(), f)
	if u := f.uses[0]; c.hash(t) != before || u.reason == nil || !strings.Contains(u.reason.Error(), "no seats left") {
		t.Errorf("swapped %t, reason %v", c.hash(t) != before, u.reason)
	}
}

// One file can be several plugins of several sites.
func TestWatcherReplacesAllThatUseAFile(t *testing.T) {
	path := assemble(t, "rules")
	two := plugin(path, "watch") + plugin(path, "watch\nconfig {\nmore\n}") + plugin(path, "name pinned")
	c := mustLoad(t, pluginSite(t, "portal.example.com", two)+pluginSite(t, "other.example.com", two))
	w, f := watched(t, c)
	if len(w.files) != 1 || len(f.uses) != 4 {
		t.Fatalf("%d files, the first used %d times", len(w.files), len(f.uses))
	}
	before, rules := c.app.handlers[0].site.chain.Plugins()[0].Hash(), c.app.handlers[0].site.rules()
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	w.look(context.Background(), f)
	if c.app.handlers[0].site.rules() == rules {
		t.Error("joins that are under way are not decided anew")
	}
	for _, h := range c.app.handlers {
		for i, p := range h.site.chain.Plugins() {
			if changed := p.Hash() != before; changed != (i < 2) {
				t.Errorf("plugin %d: changed %t", i, changed)
			}
		}
	}
}

func TestWatcherHashesWhatChangedOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &watchedFile{spec: plugins.Spec{Path: path}}
	fresh, err := f.read()
	if err != nil || fresh == "" {
		t.Fatalf("%q, %v", fresh, err)
	}
	if again, _ := f.read(); again != fresh {
		t.Errorf("a file that was written just now is %q", again)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	old := info.ModTime().Add(-10 * watchSettled)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if again, _ := f.read(); again != fresh {
		t.Errorf("a file of another time is %q", again)
	}
	if again, _ := f.read(); again != "" {
		t.Errorf("a file that has not changed was read: %q", again)
	}
	// Another file with the same size and time.
	if err := os.WriteFile(path+".new", []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chtimes(path+".new", old, old), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	if again, _ := f.read(); again == "" || again == fresh {
		t.Errorf("another file in its place is %q", again)
	}
}

// A file that no plugin may be is never read, however large it is and whatever it is.
func TestWatcherReadsNoFileThatIsNoPlugin(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a sparse file of 300 GB": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 300<<30))
		},
		"a file of its limit and a byte": func(path string) error { return os.WriteFile(path, make([]byte, 64<<10+1), 0o600) },
		"a pipe":                         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"an endless device":              func(path string) error { return os.Symlink("/dev/zero", path) },
		"a link to a pipe": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".pipe", 0o600), os.Symlink(path+".pipe", path))
		},
		"a folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to itself": func(path string) error { return os.Symlink(path, path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := assemble(t, "rules")
			c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(path, "watch\nfile 64KiB")))
			w, f := watched(t, c)
			logs, lines := observer.New(zap.InfoLevel)
			c.handler(t).plugins.logger = zap.New(logs)
			before := c.hash(t)
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 3 {
					w.look(t.Context(), f)
				}
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatal("the file is being read")
			}
			if all := lines.All(); len(all) != 1 || all[0].Level != zap.ErrorLevel || c.hash(t) != before {
				t.Errorf("logged %v", all)
			}
		})
	}
}
