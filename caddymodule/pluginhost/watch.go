package pluginhost

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// How files are watched. Times of change are not exact, so a file that was changed just now is read again.
const (
	watchInterval = 500 * time.Millisecond
	watchSettled  = 2 * time.Second
)

// Watched says what a watcher looks at.
type Watched struct {
	Sets     []*Set
	InEffect func() bool              // reports whether the configuration of the sets is in effect
	Hosts    func() map[*Set][]string // what the plugins of a set are tried for, 1 to MaxTried hosts; "" is any
	Changed  func(*Set)               // called when a plugin of the set was replaced
}

// Watcher loads changed files while its configuration is in effect.
type Watcher struct {
	Watched
	host   *Host
	files  []*watchedFile
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
}

// watchedFile is a file, with the plugins that are loaded from it and may have the same size.
type watchedFile struct {
	spec plugins.Spec // of which the path and the limit of the file count
	uses []*watchedUse
	seen os.FileInfo // when it was read last; nil to read it
}

// watchedUse is a plugin of a site.
type watchedUse struct {
	set    *Set
	plugin *loadedPlugin

	// What the file was when it could not be loaded, and why. It is told when the file is the same a look later: until
	// then, it may be half written.
	refused string
	reason  error
	logged  bool
}

// Watch starts to watch the files of a configuration; [Watcher.Stop] ends it. It returns nil when there is none.
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

// Stop ends the watching, and returns when nothing can be changed by it.
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

// checkAll looks at the files if the configuration is in effect already.
func (w *Watcher) checkAll(ctx context.Context) {
	if !w.InEffect() {
		return
	}
	for _, f := range w.files {
		w.check(ctx, f)
	}
}

// check loads a file that has changed.
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
			f.seen = nil // look again
		case !u.logged && ctx.Err() == nil:
			u.logged = true
			w.host.countLoad(u.plugin.spec.Name, u.reason)
			u.set.Logger.Error("changed plugin not loaded, the one before serves on",
				zap.String("plugin", u.plugin.spec.Name), zap.String("file", f.spec.Path), zap.Error(u.reason))
		}
	}
}

// read returns the hash of a file that may have changed, "" of one that has not. With an error, it stands for that.
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

// replace loads the file again and puts it in the place of what was loaded before, if it proves itself.
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
