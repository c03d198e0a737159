package plugins

import (
	"runtime"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

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
		r := newRequest(site, host, channel)
		result, f := pool.decide(HookClassify, &r)
		runtime.KeepAlive(p)
		if f != nil {
			if core.policy == Pass {
				d.Failed = true
				continue
			}
			return Decision{}, pool.error(HookClassify, f)
		}
		if d.Kind == NoOpinion {
			d.Kind = Kind(result & decisionKind)
		}
		d.Hidden = d.Hidden || result&decisionHidden != 0
		d.CountOnly = d.CountOnly || result&decisionCountOnly != 0
		d.Grant = d.Grant || result&decisionGrant != 0
	}
	return d, nil
}

// newRequest returns a request about a channel.
func newRequest(site Kind, host, channel string) codec.Request {
	r := codec.Request{Kind: uint8(site), Host: host, Channel: channel}
	if site == Granted {
		r.Kind, r.Flags = uint8(Authenticated), codec.FlagGranted
	}
	return r
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
		r := newRequest(site, host, channel)
		if user != nil {
			r.User, r.Email = user.ID, user.Email
		} else {
			r.Flags |= codec.FlagAnonymous
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
