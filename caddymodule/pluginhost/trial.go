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
	// MaxTried bounds for how many hosts of a site a plugin is tried before it serves them.
	MaxTried = 64
	// tryTime is how long the plugins of a configuration are tried; the instance under way then may take 2 s more.
	tryTime = 10 * time.Second
)

// Trial tries the plugins of a configuration that is about to start.
type Trial struct {
	Sets   []*Set
	Hosts  map[*Set][]string      // what the plugins of a set are tried for, 1 to MaxTried hosts; "" is any
	Named  func(host string) bool // reports whether the configuration names the host
	Logger *zap.Logger
}

// Try makes instances and sample calls. It returns the error of the first plugin that cannot serve. It takes little more
// than tryTime, whatever plugins do, and ends with the process: Caddy neither reloads nor stops meanwhile.
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

// addTrial makes the hosts of a configuration labels before it is in effect; the result takes that back.
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

// tryPlugin makes an instance of the plugin for each host, so that one that refuses its configuration is found before it
// serves anybody. For lack of memory no host but the first is a reason to refuse it: instances of the one before may go.
// Hosts that are not reached until then make theirs when they need it.
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
