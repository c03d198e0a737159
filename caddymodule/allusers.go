package caddymodule

import (
	"context"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
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
func (h *Handler) allUsers(ctx context.Context, q question) (answer, *problem) {
	include, p := q.body.flag("includeUsers", false)
	if p != nil {
		return answer{}, p
	}
	dedupe, p := q.body.flag("dedupeUsers", true)
	if p != nil {
		return answer{}, p
	}
	complete, p := q.body.flag("requireComplete", false)
	if p != nil {
		return answer{}, p
	}

	dcs, truth := h.app.hub.dataCenters(ctx, q, include, !dedupe)
	if complete && !truth.Complete {
		return answer{}, problemIncomplete(truth)
	}
	a := q.site.pluginAnswer(ctx, plugins.EndpointAllUsers, q.host, q.body)
	if a == nil {
		return answer{body: appendAllUsers(nil, dcs), truth: &truth}, nil
	}
	if include && a.chain.Has(plugins.HookMembers) {
		a.dcMembers(dcs)
	}
	body, p := a.finish(appendAllUsers(nil, dcs))
	return answer{body: body, truth: &truth}, p
}

// dataCenters asks every pod that serves the host; members says whether the users are wanted, and raw whether each of
// their connections counts.
func (h *hub) dataCenters(ctx context.Context, q question, members, raw bool) ([]dcUsers, cluster.Truth) {
	others, alone := h.others(q.site)
	if others == nil {
		return []dcUsers{h.ownDataCenter(q, members, raw)}, cluster.Truth{Complete: alone}
	}
	found, truth := others.AllUsers(ctx, q.host, members, raw)
	dcs := make([]dcUsers, len(found))
	for i, dc := range found {
		dcs[i] = dcUsers{name: dc.Name, authenticated: dc.Authenticated, anonymous: dc.Anonymous, users: dc.Users}
	}
	return dcs, truth
}

// ownDataCenter is what this pod has.
func (h *hub) ownDataCenter(q question, members, raw bool) dcUsers {
	dc := dcUsers{name: q.site.app.DataCenter}
	if members {
		dc.users = []presence.User{}
	}
	host := h.registry.Host(q.host)
	if host == nil {
		return dc
	}
	var stats presence.Stats
	if members {
		dc.users, stats = host.Users(raw)
	} else {
		stats = host.Stats()
	}
	dc.anonymous = stats.Anonymous
	dc.authenticated = stats.Users
	if raw {
		dc.authenticated = stats.LoggedIn
	}
	return dc
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
