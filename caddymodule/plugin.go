package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// sitePlugin is a plugin of a site, and how it was loaded.
type sitePlugin struct {
	spec    plugins.Spec
	watched bool
	loaded  *plugins.Plugin // replaced by the watcher, which alone uses it once the configuration has started
}

// provisionPlugins loads the plugins of the site. What was loaded before an error is in the chain too, for Cleanup.
func (h *Handler) provisionPlugins(ctx context.Context, s *site) error {
	if len(h.Plugins) == 0 {
		return nil
	}
	ctx, cancel := untilExit(ctx)
	defer cancel()
	var err error
	if s.engine, err = h.app.hub.plugins.open(h.app.PluginMemory); err != nil {
		return err
	}
	var loaded []*plugins.Plugin
	defer func() { s.chain = plugins.NewChain(loaded...) }()
	names := make(map[string]bool)
	for _, c := range h.Plugins {
		if c == nil {
			return errors.New("plugins: null is no plugin")
		}
		spec, err := c.spec()
		if err != nil {
			return fmt.Errorf("plugin %q: %w", absolute(c.Path), err)
		}
		if spec.Name, err = uniqueName(names, spec.Name, c.Name != ""); err != nil {
			return fmt.Errorf("plugin %q: %w", absolute(c.Path), err)
		}
		h.app.hub.plugins.equip(&spec)
		p, err := h.app.hub.plugins.load(ctx, s.engine, spec)
		if err != nil {
			return err
		}
		loaded = append(loaded, p)
		s.plugins = append(s.plugins, &sitePlugin{spec: spec, watched: c.Watch, loaded: p})
	}
	return nil
}

// uniqueName makes a name that no other plugin of the site has, since metrics and logs tell plugins apart by it. One that
// was chosen is not changed.
func uniqueName(names map[string]bool, name string, chosen bool) (string, error) {
	unique := name
	for i := 2; names[unique]; i++ {
		if chosen {
			return "", fmt.Errorf("name %q is another plugin's of this site: choose another", name)
		}
		unique = name + "-" + strconv.Itoa(i)
	}
	names[unique] = true
	return unique, nil
}

// makeRules makes rules of what the plugins are now. Each call makes others, so that a decision that is under way by the
// rules before is taken anew.
func (s *site) makeRules() {
	rules := s.bounds
	v := &verdicts{patterns: s.patterns, chain: s.chain}
	rules.Classifier = s.patterns
	if s.chain.Has(plugins.HookClassify) {
		rules.Classifier = v
	}
	if s.chain.Has(plugins.HookAuthorize) {
		rules.Authorizer = v
	}
	s.now.Store(&rules)
}

// rules returns the rules that hold now.
func (s *site) rules() *presence.Rules { return s.now.Load() }

const (
	// maxTried bounds for how many hosts of a site a plugin is tried before it serves them.
	maxTried = 64
	// tryTime is how long the plugins of a configuration are tried; the instance under way then may take 2 s more.
	tryTime = 10 * time.Second
)

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

// tryPlugins tries the plugins of all sites of a configuration that is about to start. It takes little more than
// tryTime, whatever they do, and ends with the process: Caddy neither reloads nor stops meanwhile.
func (h *hub) tryPlugins(ctx context.Context, s *snapshot) error {
	sites := s.pluginSites()
	if len(sites) == 0 {
		return nil
	}
	ctx, cancel := untilExit(ctx)
	defer cancel()
	defer h.plugins.offer(s)()
	hosts := h.hostsToTry(s)
	until := time.Now().Add(h.plugins.tryTime)
	untried := 0
	for _, of := range sites {
		for _, p := range of.plugins {
			if time.Now().After(until) {
				untried++
				continue
			}
			if err := tryPlugin(ctx, p.loaded, hosts[of], until); err != nil {
				h.plugins.counted(p.spec.Name, err)
				return err
			}
		}
	}
	if untried > 0 {
		s.logger.Warn("plugins not tried: it took too long to make instances of those before",
			zap.Int("plugins", untried), zap.Duration("limit", h.plugins.tryTime))
	}
	ctx, cancel = context.WithDeadline(ctx, until)
	defer cancel()
	for _, of := range sites {
		for _, p := range of.plugins {
			of.warnOfSamples(ctx, p.loaded, hosts[of][0])
		}
	}
	return nil
}

// untilExit returns a context that ends with ctx, and when the process is about to exit. Caddy waits for the load of a
// configuration before it stops the one in effect, and tells nobody.
func untilExit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // it ends with the context
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if caddy.Exiting() {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}

// pluginSites returns the sites that have plugins.
func (s *snapshot) pluginSites() []*site {
	return slices.DeleteFunc(slices.Clone(s.sites), func(of *site) bool { return of.chain == nil })
}

// hostsToTry returns, for each site with plugins, the first host that the configuration names for it, "" if it names
// none, and those that are connected to now.
func (h *hub) hostsToTry(s *snapshot) map[*site][]string {
	hosts := make(map[*site][]string)
	for _, of := range s.pluginSites() {
		hosts[of] = []string{s.firstHost(of)}
	}
	for _, host := range h.registry.Hosts() {
		of := s.find(host.Name())
		list, name := hosts[of], host.Name().String()
		if len(list) > 0 && len(list) < maxTried && list[0] != name {
			hosts[of] = append(list, name)
		}
	}
	return hosts
}

// reclassify gives the connections of a site, if it serves them now, the rules that a plugin's replacement has made.
func (h *hub) reclassify(of *site) {
	h.applying.Lock()
	defer h.applying.Unlock()
	h.mu.Lock()
	var names []presence.HostName
	for _, t := range h.tenants {
		if t.site.Load() == of {
			names = append(names, t.name)
		}
	}
	h.mu.Unlock()
	for _, name := range names {
		if host := h.registry.Host(name); host != nil {
			host.SetRules(of.rules())
			h.assignments.assigner.reclassified(host)
		}
	}
}

// failedInPlugin tells whether an error was logged where it arose.
func failedInPlugin(err error) bool {
	_, ok := errors.AsType[*plugins.Error](err)
	return ok
}
