package pluginhost

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// A file that changed less than watchSettled ago is read again, because modification times are not
// exact.
const (
	watchInterval = 500 * time.Millisecond
	watchSettled  = 2 * time.Second
)

// Watched is what a watcher watches.
type Watched struct {
	Sets     []*Set
	InEffect func() bool              // reports whether the configuration of the sets is in effect
	Hosts    func() map[*Set][]string // 1 to MaxTried hosts to try each set for; "" stands for any host
	Changed  func(*Set)               // called after a plugin of the set was replaced
}

// Watcher loads changed files while its configuration is in effect.
type Watcher struct {
	Watched
	host   *Host
	files  []*watchedFile
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
}

// watchedFile is a file and the plugins that are loaded from it with the same size limit.
type watchedFile struct {
	spec plugins.Spec // only its path and its limit of the file size matter
	uses []*watchedUse
	seen os.FileInfo // state at the last read; nil to read the file again
}

// watchedUse is a plugin of a site.
type watchedUse struct {
	set    *Set
	plugin *loadedPlugin

	// The last failure. It is logged if the file is the same at the next check, because a file may
	// be half written.
	refused string // hash of the content, or text of the read error; "" if none
	reason  error
	logged  bool
}

// Watch starts to watch the files of a configuration. It returns nil if no file is watched. The
// caller calls [Watcher.Stop].
func (ph *Host) Watch(ctx context.Context, of Watched) *Watcher {
	w := &Watcher{Watched: of, host: ph, done: make(chan struct{})}
	type key struct {
		path  string
		limit int64
	}
	files := make(map[key]*watchedFile)
	for _, set := range of.Sets {
		for _, p := range set.plugins {
			if !p.watched {
				continue
			}
			k := key{p.spec.Path, p.spec.Limits.File}
			f := files[k]
			if f == nil {
				f = &watchedFile{spec: p.spec}
				files[k] = f
				w.files = append(w.files, f)
			}
			f.uses = append(f.uses, &watchedUse{set: set, plugin: p})
		}
	}
	if len(w.files) == 0 {
		return nil
	}
	ctx, w.cancel = context.WithCancel(ctx)
	go w.run(ctx)
	return w
}

// Stop ends the watcher. When it returns, the watcher replaces no more plugins.
func (w *Watcher) Stop() {
	if w != nil {
		w.cancel()
		<-w.done
	}
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.checkAll(ctx)
		}
	}
}

// checkAll checks the files if the configuration is in effect.
func (w *Watcher) checkAll(ctx context.Context) {
	if !w.InEffect() {
		return
	}
	for _, f := range w.files {
		w.check(ctx, f)
	}
}

// check loads a file if it has changed.
func (w *Watcher) check(ctx context.Context, f *watchedFile) {
	content, err := f.read()
	if content == "" {
		return
	}
	for _, u := range f.uses {
		if ctx.Err() != nil {
			return
		}
		switch {
		case content == u.plugin.loaded.Hash():
			u.refused = ""
		case content != u.refused:
			reason := err
			if reason == nil {
				reason = w.replace(ctx, u)
			}
			if reason == nil {
				w.host.countLoad(u.plugin.spec.Name, nil)
				u.refused = ""
				continue
			}
			u.refused, u.reason, u.logged = content, reason, false
			f.seen = nil // check again
		case !u.logged && ctx.Err() == nil:
			u.logged = true
			w.host.countLoad(u.plugin.spec.Name, u.reason)
			u.set.Logger.Error("changed plugin not loaded, the one before serves on",
				zap.String("plugin", u.plugin.spec.Name), zap.String("file", f.spec.Path), zap.Error(u.reason))
		}
	}
}

// read returns the hash of a file that may have changed, and "" if it has not. If it returns an
// error, content is the text of that error.
func (f *watchedFile) read() (content string, err error) {
	info, err := os.Stat(f.spec.Path)
	if err != nil {
		f.seen = nil
		return err.Error(), err
	}
	if f.seen != nil && os.SameFile(f.seen, info) && f.seen.Size() == info.Size() && f.seen.ModTime().Equal(info.ModTime()) {
		return "", nil
	}
	if content, err = f.spec.Hash(); err != nil {
		f.seen = nil
		return err.Error(), err
	}
	f.seen = nil
	if age := time.Since(info.ModTime()).Abs(); age > watchSettled {
		f.seen = info
	}
	return content, nil
}

// replace loads the file again, tries the plugin, and replaces the old one.
func (w *Watcher) replace(ctx context.Context, u *watchedUse) error {
	old := u.plugin.loaded
	fresh, err := u.set.engine.Load(ctx, u.plugin.spec)
	if err != nil {
		return err
	}
	hosts, until := w.Hosts()[u.set], time.Now().Add(w.host.tryTime)
	if err := tryPlugin(ctx, fresh, hosts, until); err != nil {
		fresh.Release()
		return err
	}
	sampling, cancel := context.WithDeadline(ctx, until)
	u.set.runSamples(sampling, fresh, hosts[0])
	cancel()
	if !u.set.chain.Replace(old, fresh) {
		fresh.Release()
		return fmt.Errorf("%s is no longer in use", old.Name())
	}
	u.plugin.loaded = fresh
	w.Changed(u.set)
	old.Release()
	u.set.Logger.Info("changed plugin loaded", zap.String("plugin", fresh.Name()), zap.String("file", fresh.Path()),
		zap.String("sha256", fresh.Hash()), zap.Strings("hooks", fresh.Hooks().Names()))
	return nil
}
