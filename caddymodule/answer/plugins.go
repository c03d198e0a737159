package answer

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Plugins passes an answer through the plugins of a site. err is the first failure.
type Plugins struct {
	chain    *plugins.Chain
	ctx      context.Context // of the request
	endpoint plugins.Endpoint
	host     string
	request  []byte // the part of the request that plugins may see
	err      error
}

// NewPlugins starts an answer to a request. It returns nil if no plugin of the chain changes
// answers. request returns the part of the request that plugins may see, as JSON.
func NewPlugins(
	ctx context.Context, of *plugins.Chain, e plugins.Endpoint, host string, request func() []byte,
) *Plugins {
	// A plugin that is replaced meanwhile still makes the whole answer.
	chain := plugins.NewChain(of.Plugins()...)
	if Bare(chain) {
		return nil
	}
	return &Plugins{chain: chain, ctx: ctx, endpoint: e, host: host, request: request()}
}

// Bare reports whether no plugin of the chain changes answers now.
func Bare(chain *plugins.Chain) bool {
	return !chain.Has(plugins.HookMembers) && !chain.Has(plugins.HookShape)
}

// members starts to pass users through the plugins.
func (a *Plugins) members(next func() (plugins.User, bool)) *plugins.Members {
	return a.chain.Members(a.ctx, a.endpoint, a.host, a.request, next)
}

// Err returns the first error.
func (a *Plugins) Err() error { return a.err }

// Finish passes the whole answer through the plugins. It returns the first error of any step: after
// a failure, no part of the answer may be sent. The failure is already logged.
func (a *Plugins) Finish(body []byte) ([]byte, error) {
	if a.err == nil && a.chain.Has(plugins.HookShape) {
		body, a.err = a.chain.Shape(a.ctx, a.endpoint, a.host, a.request, body)
	}
	if a.err != nil {
		return nil, a.err
	}
	return body, nil
}

// AppendListings is AppendListings with the users that the plugins return. A user that they omit is
// missing, and so is the private channel of that connection.
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

// appendMembers appends the array of the next n users, and returns how many of them the plugins
// kept.
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

// checkEnd checks that the plugins return no further user.
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

// listedUsers returns an iterator over the users of an answer, in its order.
func listedUsers(list []presence.Listing) func() (plugins.User, bool) {
	var users []presence.User // remaining users of the previous listing
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
		return plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status}, true
	}
}

// HasMembers reports whether a plugin changes single users.
func (a *Plugins) HasMembers() bool { return a.chain.Has(plugins.HookMembers) }

// PassDataCenters passes the users of the data centers through the plugins, and sets their arrays
// and counts.
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
		return plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status}, true
	})
	for k := range dcs {
		dc := &dcs[k]
		if dc.array, dc.Authenticated = a.appendMembers(nil, m, len(dc.Users)); a.err != nil {
			return
		}
	}
	a.checkEnd(m)
}

// Visible returns the users that the plugins do not leave out. After a failure, it returns nil.
func (a *Plugins) Visible(users []cluster.OnlineUser) []cluster.OnlineUser {
	m := a.members(each(users, func(u *cluster.OnlineUser) plugins.User { return plugins.User{ID: u.ID, Email: u.Email} }))
	visible := make([]cluster.OnlineUser, 0, len(users))
	for i := range users {
		object, err := m.Next()
		if err != nil {
			a.setError(err)
			return nil
		}
		if object != nil {
			visible = append(visible, users[i])
		}
	}
	a.checkEnd(m)
	return visible
}
