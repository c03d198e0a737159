package answer

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Plugins is an answer on its way through the plugins of a site. The first failure stays in err.
type Plugins struct {
	chain    *plugins.Chain
	ctx      context.Context // of the one request
	endpoint plugins.Endpoint
	host     string
	request  []byte // what the plugins may know of it
	err      error
}

// NewPlugins begins an answer to a request, nil if no plugin of the chain has a say in it. The request is what the
// plugins may know of it, as JSON.
func NewPlugins(
	ctx context.Context, of *plugins.Chain, e plugins.Endpoint, host string, request func() []byte,
) *Plugins {
	// The plugins of this moment: one that takes the place of another meanwhile has no part in the answer.
	chain := plugins.NewChain(of.Plugins()...)
	if Bare(chain) {
		return nil
	}
	return &Plugins{chain: chain, ctx: ctx, endpoint: e, host: host, request: request()}
}

// Bare reports whether no plugin of the chain has a say in answers at this moment.
func Bare(chain *plugins.Chain) bool {
	return !chain.Has(plugins.HookMembers) && !chain.Has(plugins.HookShape)
}

// members begins to pass users through the plugins.
func (a *Plugins) members(next func() (plugins.User, bool)) *plugins.Members {
	return a.chain.Members(a.ctx, a.endpoint, a.host, a.request, next)
}

// Err returns the first error of any step.
func (a *Plugins) Err() error { return a.err }

// Finish passes the whole answer through the plugins. It returns the first error of any step: nothing may leave of an answer
// that a plugin failed in, which the plugin's host has logged.
func (a *Plugins) Finish(body []byte) ([]byte, error) {
	if a.err == nil && a.chain.Has(plugins.HookShape) {
		body, a.err = a.chain.Shape(a.ctx, a.endpoint, a.host, a.request, body)
	}
	if a.err != nil {
		return nil, a.err
	}
	return body, nil
}

// AppendListings is the function of the same name with what the plugins make of each user: one whom they leave out is
// not there, and neither is that user's private channel.
func (a *Plugins) AppendListings(b []byte, list []presence.Listing) []byte {
	if !a.chain.Has(plugins.HookMembers) {
		return AppendListings(b, list)
	}
	m := a.members(listedUsers(list))
	b = append(b, '{')
	first := true
	for i := range list {
		l := &list[i]
		start := len(b)
		if !first {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, l.Channel), ':')
		switch {
		case l.Kind == presence.Private && len(l.Users) > 0:
			object, err := m.Next()
			if err != nil {
				a.setError(err)
				return nil
			}
			if object == nil {
				b = b[:start]
				continue
			}
			b = append(b, object...)
		case l.Named():
			if b, _ = a.appendMembers(b, m, len(l.Users)); a.err != nil {
				return nil
			}
		default:
			b = strconv.AppendInt(b, int64(l.Count), 10)
		}
		first = false
	}
	a.checkEnd(m)
	return append(b, '}')
}

// appendMembers appends the array of the next n users, and returns how many of them the plugins have left in it.
func (a *Plugins) appendMembers(b []byte, m *plugins.Members, n int) ([]byte, int) {
	b = append(b, '[')
	kept := 0
	for range n {
		object, err := m.Next()
		if err != nil {
			a.setError(err)
			return nil, 0
		}
		if object == nil {
			continue
		}
		if kept > 0 {
			b = append(b, ',')
		}
		b = append(b, object...)
		kept++
	}
	return append(b, ']'), kept
}

// checkEnd makes sure that all users have come, and no more.
func (a *Plugins) checkEnd(m *plugins.Members) {
	switch _, err := m.Next(); {
	case err == nil:
		a.setError(errors.New("the plugins returned more users than there are"))
	case !errors.Is(err, io.EOF):
		a.setError(err)
	}
}

func (a *Plugins) setError(err error) {
	if a.err == nil {
		a.err = err
	}
}

// listedUsers returns the users that appear in an answer, in its order.
func listedUsers(list []presence.Listing) func() (plugins.User, bool) {
	var users []presence.User // of the first of list that are left
	return func() (plugins.User, bool) {
		for len(users) == 0 {
			if len(list) == 0 {
				return plugins.User{}, false
			}
			if l := &list[0]; l.Kind == presence.Private || l.Named() {
				users = l.Users
			}
			list = list[1:]
		}
		u := users[0]
		users = users[1:]
		return plugins.User{ID: u.ID, Email: u.Email}, true
	}
}

// HasMembers reports whether a plugin has a say in each user.
func (a *Plugins) HasMembers() bool { return a.chain.Has(plugins.HookMembers) }

// PassDataCenters passes the users of the data centers through the plugins, into their arrays; counts follow.
func (a *Plugins) PassDataCenters(dcs []DataCenter) {
	i, j := 0, 0
	m := a.members(func() (plugins.User, bool) {
		for i < len(dcs) && j == len(dcs[i].Users) {
			i, j = i+1, 0
		}
		if i == len(dcs) {
			return plugins.User{}, false
		}
		u := dcs[i].Users[j]
		j++
		return plugins.User{ID: u.ID, Email: u.Email}, true
	})
	for k := range dcs {
		dc := &dcs[k]
		if dc.array, dc.Authenticated = a.appendMembers(nil, m, len(dc.Users)); a.err != nil {
			return
		}
	}
	a.checkEnd(m)
}
