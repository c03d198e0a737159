package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
)

// loadPlugins loads the plugins of the handler's site. It returns nil if there is none.
func (h *Handler) loadPlugins(ctx context.Context) (*pluginhost.Set, error) {
	if len(h.Plugins) == 0 {
		return nil, nil
	}
	specs := make([]pluginhost.Spec, len(h.Plugins))
	names := make(map[string]bool)
	for i, c := range h.Plugins {
		if c == nil {
			return nil, errors.New("plugins: null is no plugin")
		}
		spec, err := c.spec()
		if err == nil {
			spec.Name, err = uniqueName(names, spec.Name, c.Name != "")
		}
		if err != nil {
			return nil, fmt.Errorf("plugin %q: %w", absolute(c.Path), err)
		}
		specs[i] = pluginhost.Spec{Spec: spec, Watched: c.Watch}
	}
	return h.app.hub.Plugins.Load(ctx, h.app.PluginMemory, specs, h.rollcall.Site.Logger)
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
