package plugins

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
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

// Classify asks the plugins for the kind of channel. site is the kind by the site's own rules.
//
// # Errors
//
// It returns an [*Error] if a plugin fails whose policy is [Deny].
func (c *Chain) Classify(host, channel string, site Kind) (Decision, error) {
	var d Decision
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookClassify) {
			continue
		}
		pool := core.pool(host)
		r := codec.Request{Kind: uint8(site), Host: host, Channel: channel}
		result, f := pool.decide(HookClassify, &r)
		runtime.KeepAlive(p)
		if f != nil {
			if core.policy == Pass {
				continue
			}
			return Decision{}, pool.error(HookClassify, f)
		}
		if d.Kind == NoOpinion {
			d.Kind = Kind(result & decisionKind)
		}
		d.Hidden = d.Hidden || result&decisionHidden != 0
		d.CountOnly = d.CountOnly || result&decisionCountOnly != 0
	}
	return d, nil
}

// Authorize asks the plugins whether user may join channel. A nil user is an anonymous connection.
// It returns true if no plugin objects.
//
// # Errors
//
// It returns an [*Error] if a plugin fails whose policy is [Deny].
func (c *Chain) Authorize(host, channel string, site Kind, user *User) (bool, error) {
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookAuthorize) {
			continue
		}
		pool := core.pool(host)
		r := codec.Request{Kind: uint8(site), Flags: codec.FlagAnonymous, Host: host, Channel: channel}
		if user != nil {
			r.Flags, r.User, r.Email = 0, user.ID, user.Email
		}
		result, f := pool.decide(HookAuthorize, &r)
		runtime.KeepAlive(p)
		switch {
		case f != nil && core.policy == Pass:
		case f != nil:
			return false, pool.error(HookAuthorize, f)
		case result != 0:
			return false, nil
		}
	}
	return true, nil
}

// shapeGrowth is the longest shaped answer, in multiples of the document limit.
const shapeGrowth = 4

var errNotJSON = errors.New("the result is not one JSON value")

// Shape passes body, a whole answer, through the plugins and returns the result, which may be body
// itself.
//
// # Errors
//
// It returns an [*Error] if a plugin fails whose policy is [Deny], and an error of ctx unchanged.
func (c *Chain) Shape(ctx context.Context, e Endpoint, host string, request, body []byte) ([]byte, error) {
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookShape) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pool := core.pool(host)
		shaped, f := pool.shape(e, request, body)
		runtime.KeepAlive(p)
		switch {
		case f != nil && core.policy == Pass:
		case f != nil:
			return nil, pool.error(HookShape, f)
		case shaped != nil:
			body = shaped
		}
	}
	return body, nil
}

func (p *pool) shape(e Endpoint, request, body []byte) ([]byte, *fault) {
	most := p.plugin.limits.Document
	if int64(len(body)) > most {
		return nil, p.recordFailure(HookShape,
			faultf(ReasonTooLarge, "the answer has %d bytes, the limit document is %d", len(body), most), false)
	}
	var shaped []byte
	_, f := p.transform(&exchange{
		hook: HookShape, endpoint: e, request: request, input: body,
		budget: p.plugin.limits.ShapeBudget, maxResult: int(most) * shapeGrowth,
		use: func(result []byte) error {
			if !codec.ValidJSON(result) {
				return errNotJSON
			}
			shaped = bytes.Clone(result)
			return nil
		},
	})
	if f != nil {
		return nil, f
	}
	return shaped, nil
}
