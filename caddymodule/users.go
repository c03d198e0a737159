package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// users answers /message/users: the active channels of the host, or one of them, and who listens.
func (h *Handler) users(ctx context.Context, name presence.HostName, body request) ([]byte, *problem) {
	channel, p := body.text("channel")
	if p != nil {
		return nil, p
	}
	dedupe, p := body.flag("dedupeUsers", true)
	if p != nil {
		return nil, p
	}
	scope, p := body.text("scope")
	if p != nil {
		return nil, p
	}
	if _, p := body.flag("requireComplete", false); p != nil {
		return nil, p
	}
	// All scopes are the same as long as there is one pod.
	if !slices.Contains([]string{"", "pod", "dc", "all"}, scope) {
		return nil, &problem{
			status: http.StatusBadRequest, code: "bad_value", detail: "scope must be pod, dc or all",
		}
	}

	var list []presence.Listing
	if host := h.app.hub.registry.Host(name); host != nil {
		if _, one := body["channel"]; !one {
			list = host.Channels(!dedupe)
		} else if l, ok := host.Channel(channel, !dedupe); ok {
			list = append(list, l)
		}
	}
	if a := h.site.pluginAnswer(ctx, plugins.EndpointUsers, name, body); a != nil {
		return a.finish(a.appendListings(nil, list))
	}
	return appendListings(nil, list), nil
}

// appendListings appends the object that is keyed by channel.
func appendListings(b []byte, list []presence.Listing) []byte {
	b = append(b, '{')
	for i, l := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, l.Channel)
		b = append(b, ':')
		switch {
		case l.Kind == presence.Private && len(l.Users) > 0:
			b = wire.AppendUser(b, l.Users[0])
		case l.Named():
			b = wire.AppendUsers(b, l.Users)
		default:
			b = strconv.AppendInt(b, int64(l.Count), 10)
		}
	}
	return append(b, '}')
}
