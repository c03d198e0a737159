package plugins

import (
	"slices"
	"strconv"
	"sync/atomic"
)

// Chain holds the plugins of one site, in order. A nil *Chain has no plugins.
type Chain struct {
	plugins atomic.Pointer[[]*Plugin]
}

// NewChain returns a chain of the plugins in list.
func NewChain(list ...*Plugin) *Chain {
	c := new(Chain)
	list = slices.Clone(list)
	c.plugins.Store(&list)
	return c
}

// load returns the plugins, which must not be changed.
func (c *Chain) load() []*Plugin {
	if c == nil {
		return nil
	}
	return *c.plugins.Load()
}

// Plugins returns the plugins of the chain.
func (c *Chain) Plugins() []*Plugin { return slices.Clone(c.load()) }

// Has reports whether any plugin of the chain has the hook.
func (c *Chain) Has(h Hook) bool {
	return slices.ContainsFunc(c.load(), func(p *Plugin) bool { return p.Hooks().Has(h) })
}

// with returns the plugins that have the hook, in order.
func (c *Chain) with(h Hook) (list []*Plugin) {
	for _, p := range c.load() {
		if p.Hooks().Has(h) {
			list = append(list, p)
		}
	}
	return list
}

// Version identifies the plugins that have the hook, with their order and configuration.
func (c *Chain) Version(h Hook) string {
	var b []byte
	for _, p := range c.with(h) {
		b = append(strconv.AppendUint(b, p.anchor.number, 10), ' ')
	}
	return string(b)
}

// Replace puts replacement in the place of old, for all calls that start from now on. If old is not
// in the chain, it returns false and changes nothing. The caller releases old.
func (c *Chain) Replace(old, replacement *Plugin) bool {
	for c != nil {
		was := c.plugins.Load()
		i := slices.Index(*was, old)
		if i < 0 {
			return false
		}
		list := slices.Clone(*was)
		list[i] = replacement
		if c.plugins.CompareAndSwap(was, &list) {
			return true
		}
	}
	return false
}

// Release releases all plugins of the chain.
func (c *Chain) Release() {
	for _, p := range c.load() {
		p.Release()
	}
}
