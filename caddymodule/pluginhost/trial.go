package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

const (
	// MaxTried is the maximum number of hosts of a site for which a plugin is tried.
	MaxTried = 64
	// tryTime is the time limit for trying the plugins of a configuration. The last instance may
	// take 2 s more.
	tryTime = 10 * time.Second
)

// Trial tries the plugins of a configuration that is about to start.
type Trial struct {
	Sets   []*Set
	Hosts  map[*Set][]string      // 1 to MaxTried hosts to try each set for; "" stands for any host
	Named  func(host string) bool // reports whether the configuration names the host
	Logger *zap.Logger
}

// Try makes instances and sample calls. It returns the error of the first plugin that cannot serve.
// It takes little longer than tryTime, whatever the plugins do, and stops when the process exits:
// Caddy neither reloads nor stops meanwhile.
func (ph *Host) Try(ctx context.Context, t *Trial) error {
	if len(t.Sets) == 0 {
		return nil
	}
	ctx, cancel := ph.untilExit(ctx)
	defer cancel()
	defer ph.addTrial(t)()
	until := time.Now().Add(ph.tryTime)
	untried := 0
	for _, s := range t.Sets {
		for _, p := range s.plugins {
			if time.Now().After(until) {
				untried++
				continue
			}
			if err := tryPlugin(ctx, p.loaded, t.Hosts[s], until); err != nil {
				ph.countLoad(p.spec.Name, err)
				return err
			}
		}
	}
	if untried > 0 {
		t.Logger.Warn("plugins not tried: it took too long to make instances of those before",
			zap.Int("plugins", untried), zap.Duration("limit", ph.tryTime))
	}
	ctx, cancel = context.WithDeadline(ctx, until)
	defer cancel()
	for _, s := range t.Sets {
		for _, p := range s.plugins {
			s.runSamples(ctx, p.loaded, t.Hosts[s][0])
		}
	}
	return nil
}

// addTrial makes the hosts of a configuration host labels before it is in effect. The returned
// function reverts that.
func (ph *Host) addTrial(t *Trial) func() {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	ph.trying = append(ph.trying, t)
	return func() {
		ph.mu.Lock()
		defer ph.mu.Unlock()
		ph.trying = slices.DeleteFunc(ph.trying, func(other *Trial) bool { return other == t })
	}
}

// tryPlugin makes an instance of the plugin for each host. A plugin that refuses its configuration
// is thus found before it serves a host. A lack of memory counts only for the first host, because
// the previous instances may still be freed. Hosts that are not tried by the deadline get their
// instance on first use.
func tryPlugin(ctx context.Context, p *plugins.Plugin, hosts []string, until time.Time) error {
	for i, host := range hosts {
		if i > 0 && time.Now().After(until) {
			break
		}
		err := p.Try(ctx, host)
		if failure, ok := errors.AsType[*plugins.Error](err); ok && failure.Reason == plugins.ReasonMemory && i > 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("trying the plugin %s (%s): %w", p.Name(), p.Path(), err)
		}
	}
	return nil
}
