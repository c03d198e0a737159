package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// pluginAnswer is an answer on its way through the plugins of a site. The first failure stays in err.
type pluginAnswer struct {
	chain    *plugins.Chain
	ctx      context.Context // of the one request
	endpoint plugins.Endpoint
	host     string
	request  []byte // what the plugins may know of it
	err      error
}

// newPluginAnswer begins an answer, nil for a site whose plugins have no say in it.
func newPluginAnswer(ctx context.Context, q question, e plugins.Endpoint) *pluginAnswer {
	// The plugins of this moment: one that takes the place of another meanwhile has no part in the answer.
	chain := plugins.NewChain(q.site.Chain.Plugins()...)
	if !chain.Has(plugins.HookMembers) && !chain.Has(plugins.HookShape) {
		return nil
	}
	return &pluginAnswer{chain: chain, ctx: ctx, endpoint: e, host: q.host.String(), request: q.body.withoutKey()}
}

// bare reports whether no plugin of the site has a say in answers at this moment.
func bare(s *site.Site) bool {
	return !s.Chain.Has(plugins.HookMembers) && !s.Chain.Has(plugins.HookShape)
}

// withoutKey returns the body as JSON without the API key, in whatever case a client wrote its name.
func (b request) withoutKey() []byte {
	rest := make(request, len(b))
	for name, value := range b {
		if !strings.EqualFold(name, "apiKey") {
			rest[name] = value
		}
	}
	text, _ := json.Marshal(rest) // the values are JSON that was decoded
	return text
}

// members begins to pass users through the plugins.
func (a *pluginAnswer) members(next func() (plugins.User, bool)) *plugins.Members {
	return a.chain.Members(a.ctx, a.endpoint, a.host, a.request, next)
}

// finish passes the whole answer through the plugins. Nothing leaves of one that a plugin failed in, which the plugin's
// host has logged.
func (a *pluginAnswer) finish(body []byte) ([]byte, *problem.Problem) {
	if a.err == nil && a.chain.Has(plugins.HookShape) {
		body, a.err = a.chain.Shape(a.ctx, a.endpoint, a.host, a.request, body)
	}
	if a.err != nil {
		return nil, problem.PluginFailed()
	}
	return body, nil
}

// appendListings is the function of the same name with what the plugins make of each user: one whom they leave out is
// not there, and neither is that user's private channel.
func (a *pluginAnswer) appendListings(b []byte, list []presence.Listing) []byte {
	if !a.chain.Has(plugins.HookMembers) {
		return appendListings(b, list)
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
				a.fail(err)
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
	a.end(m)
	return append(b, '}')
}

// appendMembers appends the array of the next n users and tells how many are left in it.
func (a *pluginAnswer) appendMembers(b []byte, m *plugins.Members, n int) ([]byte, int) {
	b = append(b, '[')
	kept := 0
	for range n {
		object, err := m.Next()
		if err != nil {
			a.fail(err)
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

// end makes sure that all users have come, and no more.
func (a *pluginAnswer) end(m *plugins.Members) {
	switch _, err := m.Next(); {
	case err == nil:
		a.fail(errors.New("the plugins returned more users than there are"))
	case !errors.Is(err, io.EOF):
		a.fail(err)
	}
}

func (a *pluginAnswer) fail(err error) {
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

// dcMembers passes the users of the data centers through the plugins, into their arrays; counts follow.
func (a *pluginAnswer) dcMembers(dcs []dcUsers) {
	i, j := 0, 0
	m := a.members(func() (plugins.User, bool) {
		for i < len(dcs) && j == len(dcs[i].users) {
			i, j = i+1, 0
		}
		if i == len(dcs) {
			return plugins.User{}, false
		}
		u := dcs[i].users[j]
		j++
		return plugins.User{ID: u.ID, Email: u.Email}, true
	})
	for k := range dcs {
		dc := &dcs[k]
		if dc.array, dc.authenticated = a.appendMembers(nil, m, len(dc.users)); a.err != nil {
			return
		}
	}
	a.end(m)
}
