package caddymodule

import (
	"context"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// totalKey is the key of the sum over the data centers, which therefore no data center can have.
const totalKey = "_total"

// dcUsers is what one data center has of a host.
type dcUsers struct {
	name          string
	authenticated int
	anonymous     int
	users         []presence.User // nil unless they were asked for
	array         []byte          // what plugins made of users; nil: nothing
}

// allUsers answers /message/allusers: how many are connected to the host in each data center, or who.
func (h *Handler) allUsers(ctx context.Context, name presence.HostName, body request) ([]byte, *problem) {
	include, p := body.flag("includeUsers", false)
	if p != nil {
		return nil, p
	}
	dedupe, p := body.flag("dedupeUsers", true)
	if p != nil {
		return nil, p
	}
	if _, p := body.flag("requireComplete", false); p != nil {
		return nil, p
	}

	dc := dcUsers{name: h.app.DataCenter}
	if include {
		dc.users = []presence.User{}
	}
	if host := h.app.hub.registry.Host(name); host != nil {
		var stats presence.Stats
		if include {
			dc.users, stats = host.Users(!dedupe)
		} else {
			stats = host.Stats()
		}
		dc.anonymous = stats.Anonymous
		dc.authenticated = stats.Users
		if !dedupe {
			dc.authenticated = stats.LoggedIn
		}
	}
	dcs := []dcUsers{dc}
	a := h.site.pluginAnswer(ctx, plugins.EndpointAllUsers, name, body)
	if a == nil {
		return appendAllUsers(nil, dcs), nil
	}
	if include && a.chain.Has(plugins.HookMembers) {
		a.dcMembers(dcs)
	}
	return a.finish(appendAllUsers(nil, dcs))
}

// appendAllUsers appends the object that is keyed by data center, with the sum.
func appendAllUsers(b []byte, dcs []dcUsers) []byte {
	total := dcUsers{name: totalKey}
	b = append(b, '{')
	for _, dc := range dcs {
		total.authenticated += dc.authenticated
		total.anonymous += dc.anonymous
		b = dc.append(b)
		b = append(b, ',')
	}
	b = total.append(b)
	return append(b, '}')
}

func (dc dcUsers) append(b []byte) []byte {
	b = wire.AppendString(b, dc.name)
	b = append(b, `:{"authenticated":`...)
	if dc.users != nil {
		if dc.array != nil {
			b = append(b, dc.array...)
		} else {
			b = wire.AppendUsers(b, dc.users)
		}
		b = append(b, `,"authenticatedCount":`...)
	}
	b = strconv.AppendInt(b, int64(dc.authenticated), 10)
	b = append(b, `,"anonymous":`...)
	b = strconv.AppendInt(b, int64(dc.anonymous), 10)
	return append(b, '}')
}
