package pluginhost

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

	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/plugins"
)

// host is the host that plugins are tried for.
const host = "portal.example.com"

// assemble compiles a guest of testdata/plugins, after replacing texts in it, pair by pair. It
// returns the file.
func assemble(t testing.TB, name string, edits ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".wasm")
	wat.Compile(t, file, wat.Edited(t, "../testdata/plugins/"+name+".wat", edits...))
	return file
}

// watchedPlugin is a plugin of a file that is watched, with all the time that a busy machine needs.
func watchedPlugin(path string) Spec {
	s := Spec{Watched: true}
	s.Name, s.Path = strings.TrimSuffix(filepath.Base(path), ".wasm"), path
	s.Limits.ClassifyTimeout, s.Limits.ShapeTimeout = 30*time.Second, 30*time.Second
	return s
}

// loaded is the plugins of the only site of a configuration, and their log.
type loaded struct {
	host     *Host
	sets     []*Set
	inEffect bool
	changed  int
	watcher  *Watcher
	lines    *observer.ObservedLogs
}

func load(t *testing.T, specs ...Spec) *loaded {
	t.Helper()
	l := &loaded{inEffect: true, host: New(Config{
		Folder: filepath.Join(t.TempDir(), "wasm"), Logger: zap.NewNop(),
		Named: func(string) bool { return true }, Exiting: func() bool { return false },
	})}
	t.Cleanup(func() {
		if err := l.host.Close(); err != nil {
			t.Error(err)
		}
	})
	core, lines := observer.New(zap.InfoLevel)
	set, err := l.host.Load(t.Context(), 1<<30, specs, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	l.sets, l.lines = []*Set{set}, lines
	l.watch(t)
	return l
}

// watch starts to watch; the test makes the checks.
func (l *loaded) watch(t *testing.T) {
	t.Helper()
	l.watcher = l.host.Watch(t.Context(), Watched{
		Sets: l.sets, InEffect: func() bool { return l.inEffect }, Hosts: l.hosts,
		Changed: func(*Set) { l.changed++ },
	})
	l.watcher.Stop()
}

// hosts are what plugins are tried for.
func (l *loaded) hosts() map[*Set][]string {
	hosts := make(map[*Set][]string)
	for _, s := range l.sets {
		hosts[s] = []string{host}
	}
	return hosts
}

// look checks the files as the watcher does.
func (l *loaded) look(t *testing.T) {
	t.Helper()
	l.watcher.checkAll(context.Background())
}

// hash returns the hash of the first plugin.
func (l *loaded) hash() string { return l.sets[0].Chain().Plugins()[0].Hash() }

// replace replaces a file.
func replace(t testing.TB, path, by string) {
	t.Helper()
	if err := os.Rename(by, path); err != nil {
		t.Fatal(err)
	}
}

func TestWatcherTellsOnceOfAFileThatStaysBroken(t *testing.T) {
	path := assemble(t, "rules")
	c := load(t, watchedPlugin(path))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	if err != nil {
		t.Fatal(err)
	}
	before := c.hash()
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
		c.look(t)
		var got []string
		for _, e := range c.lines.TakeAll() {
			got = append(got, e.Message)
		}
		if !slices.Equal(got, step.want) || (c.hash() != before) != step.swapped {
			t.Errorf("%s: logged %q, want %q; swapped %t", step.name, got, step.want, c.hash() != before)
		}
	}
}

func TestWatcherKeepsAPluginWhoseFileIsGone(t *testing.T) {
	path := assemble(t, "rules")
	c := load(t, watchedPlugin(path))
	before := c.hash()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.look(t)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.look(t)
	}
	if all := c.lines.All(); len(all) != 2 || all[0].Level != zap.ErrorLevel || c.hash() != before {
		t.Errorf("logged %v", all)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	c.look(t)
	if c.hash() == before {
		t.Error("the file that is back was not loaded")
	}
}

func TestWatcherRefusesAPluginThatRefusesItsConfiguration(t *testing.T) {
	path := assemble(t, "shape")
	c := load(t, watchedPlugin(path))
	before := c.hash()
	replace(t, path, assemble(t, "shape", "(i32.const 0x72)", "(i32.const 0x70)")) // hosts that begin with p
	c.look(t)
	if u := c.watcher.files[0].uses[0]; c.hash() != before || u.reason == nil || !strings.Contains(u.reason.Error(), "no seats left") {
		t.Errorf("swapped %t, reason %v", c.hash() != before, u.reason)
	}
}

// Several plugins of several sites can share a file.
func TestWatcherReplacesAllThatUseAFile(t *testing.T) {
	path := assemble(t, "rules")
	configured := watchedPlugin(path)
	configured.Name, configured.Config = "configured", []byte(`{"more":""}`)
	pinned := watchedPlugin(path)
	pinned.Name, pinned.Watched = "pinned", false
	c := load(t, watchedPlugin(path), configured, pinned)
	second, err := c.host.Load(t.Context(), 1<<30, []Spec{watchedPlugin(path), configured, pinned}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	c.sets = append(c.sets, second)
	c.watch(t)
	if files := c.watcher.files; len(files) != 1 || len(files[0].uses) != 4 {
		t.Fatalf("%d files, the first used %d times", len(files), len(files[0].uses))
	}
	before := c.hash()
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	c.look(t)
	if c.changed != 4 {
		t.Errorf("sites hear of %d changes", c.changed)
	}
	for _, set := range c.sets {
		for i, p := range set.Chain().Plugins() {
			if changed := p.Hash() != before; changed != (i < 2) {
				t.Errorf("plugin %d: changed %t", i, changed)
			}
		}
	}
}

func TestWatcherWaitsUntilItsConfigurationIsInEffect(t *testing.T) {
	path := assemble(t, "rules")
	c := load(t, watchedPlugin(path))
	c.inEffect = false
	before := c.hash()
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	c.look(t)
	if c.hash() != before {
		t.Error("a configuration that is not in effect has the new file")
	}
	c.inEffect = true
	c.look(t)
	if c.hash() == before {
		t.Error("the configuration in effect has the old file")
	}
}

func TestWatcherStops(t *testing.T) {
	path := assemble(t, "rules")
	c := load(t, watchedPlugin(path))
	w := c.host.Watch(t.Context(), Watched{
		Sets: c.sets, InEffect: func() bool { return true }, Hosts: c.hosts, Changed: func(*Set) {},
	})
	before := c.hash()
	replace(t, path, assemble(t, "rules", "0x6f)) ;; o", "0x6e)) ;; n"))
	deadline := time.Now().Add(10 * time.Second)
	for c.hash() == before {
		if time.Now().After(deadline) {
			t.Fatal("the new file is not loaded")
		}
		time.Sleep(time.Millisecond)
	}
	w.Stop()
	select {
	case <-w.done:
	default:
		t.Error("it runs on")
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

// A file that cannot be a plugin is never read.
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
			spec := watchedPlugin(path)
			spec.Limits.File = 64 << 10
			c := load(t, spec)
			before := c.hash()
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 3 {
					c.look(t)
				}
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatal("the file is being read")
			}
			if all := c.lines.All(); len(all) != 1 || all[0].Level != zap.ErrorLevel || c.hash() != before {
				t.Errorf("logged %v", all)
			}
		})
	}
}

func TestWatcherWarnsOfAPluginWhoseSampleCallFails(t *testing.T) {
	path := assemble(t, "rules")
	c := load(t, watchedPlugin(path))
	before := c.hash()
	replace(t, path, assemble(t, "rules", "0x74)) (then (unreachable", "0x73)) (then (unreachable"))
	c.look(t)
	warnings := c.lines.FilterLevelExact(zap.WarnLevel).All()
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0].Message, "plugin loaded, but a sample call fails") || c.hash() == before {
		t.Errorf("logged %v; swapped %t", c.lines.All(), c.hash() != before)
	}
}

// A configuration with slow plugins starts anyway, and logs how many were not tried.
func TestPluginsAreTriedForABoundedTime(t *testing.T) {
	c := load(t, watchedPlugin(assemble(t, "rules")))
	c.host.tryTime = -1
	core, lines := observer.New(zap.WarnLevel)
	err := c.host.Try(t.Context(), &Trial{
		Sets: c.sets, Hosts: c.hosts(), Named: func(string) bool { return true }, Logger: zap.New(core),
	})
	if err != nil {
		t.Fatal(err)
	}
	all := lines.All()
	if len(all) != 1 || !strings.HasPrefix(all[0].Message, "plugins not tried: ") || all[0].ContextMap()["plugins"] != int64(1) {
		t.Errorf("logged %v", all)
	}
	for _, r := range c.host.Reports() {
		if len(r.Hosts) > 0 {
			t.Errorf("%s was tried", filepath.Base(r.Path))
		}
	}
}

// A reload keeps the engine: it is closed with the last site that uses it.
func TestEngineIsSharedByConfigurations(t *testing.T) {
	c := load(t, watchedPlugin(assemble(t, "rules")))
	var sets []*Set
	for _, memory := range []int64{1 << 30, 64 << 20} {
		s, err := c.host.Load(t.Context(), memory, []Spec{watchedPlugin(assemble(t, "rules"))}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	a, same, other := c.sets[0].engine, sets[0].engine, sets[1].engine
	if a != same || a == other {
		t.Errorf("engines %p, %p and %p", a, same, other)
	}
	for range 2 { // twice is once
		if err := sets[0].Release(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.host.all()); n != 2 {
		t.Errorf("%d engines", n)
	}
	if err := sets[1].Release(); err != nil {
		t.Fatal(err)
	}
	if n := len(c.host.all()); n != 1 {
		t.Errorf("%d engines", n)
	}
}

// A file can be refused by one site and accepted by another.
func TestWatcherReplacesAPluginThatAnotherSiteRefuses(t *testing.T) {
	path := assemble(t, "shape")
	c := load(t, watchedPlugin(path))
	core, lines := observer.New(zap.ErrorLevel)
	second, err := c.host.Load(t.Context(), 1<<30, []Spec{watchedPlugin(path)}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[*Set][]string{c.sets[0]: {"portal.example.com"}, second: {"chat.example.com"}}
	c.watcher = c.host.Watch(t.Context(), Watched{
		Sets: []*Set{c.sets[0], second}, InEffect: func() bool { return true }, Changed: func(*Set) {},
		Hosts: func() map[*Set][]string { return hosts },
	})
	c.watcher.Stop()
	before := c.hash()
	replace(t, path, assemble(t, "shape", "(i32.const 0x72)", "(i32.const 0x70)")) // hosts that begin with p
	for range 3 {
		c.look(t)
	}
	if c.hash() != before || c.lines.FilterLevelExact(zap.ErrorLevel).Len() != 1 {
		t.Errorf("the site that refuses it: swapped %t, logged %v", c.hash() != before, c.lines.All())
	}
	if second.Chain().Plugins()[0].Hash() == before || lines.Len() != 0 {
		t.Errorf("the other site has the plugin of before, logged %v", lines.All())
	}
}
