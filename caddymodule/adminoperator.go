package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/presence"
)

// operatorRoutes returns the admin endpoints that package operator answers.
func operatorRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/rollcall/channels", Handler: adminGet(ofHost(adminChannels).admin)},
		{Pattern: "/rollcall/users", Handler: adminGet(ofHost(adminUsers).admin)},
		{Pattern: "/rollcall/plugins/reset", Handler: adminPost(adminResetBreaker)},
		{Pattern: "/rollcall/sendmessage", Handler: adminPost(adminAct("sendmessage"))},
		{Pattern: "/rollcall/disconnect", Handler: adminPost(adminAct("disconnect"))},
		{Pattern: "/rollcall/leave", Handler: adminPost(adminAct("leave"))},
	}
}

// byAdmin is the operator in the log: Caddy does not say who uses its admin endpoint.
const byAdmin = "admin endpoint"

// loadedOperator returns the Operator of the process, or nil if Rollcall is not configured.
func loadedOperator() *operator.Operator {
	if p := loadedProcess(); p != nil {
		return p.operator
	}
	return nil
}

// adminAllHosts answers /rollcall/hosts?scope=all.
func adminAllHosts(r *http.Request) (int, any, error) {
	o := loadedOperator()
	if o == nil {
		return http.StatusOK, operator.Hosts{Truth: operator.Truth{Complete: true, Missing: []string{}}, Hosts: []operator.Host{}}, nil
	}
	return http.StatusOK, o.Hosts(r.Context(), nil), nil
}

// ofHost answers a request about a host. limit is that of its list, 0 without one.
type ofHost func(o *operator.Operator, r *http.Request, host presence.HostName, limit int) (body any, err error)

func (answer ofHost) admin(_ *gateway.Hub, r *http.Request) (int, any, error) {
	host, limit, err := listed(r)
	if err != nil {
		return http.StatusBadRequest, nil, err
	}
	o := loadedOperator()
	if o == nil {
		return adminRefused(operator.ErrNoHost)
	}
	body, err := answer(o, r, host, limit)
	if err != nil {
		return adminRefused(err)
	}
	return http.StatusOK, body, nil
}

func adminChannels(o *operator.Operator, r *http.Request, host presence.HostName, limit int) (any, error) {
	query := r.URL.Query()
	return o.Channels(r.Context(), host, presence.Page{Prefix: query.Get("prefix"), After: query.Get("after"), Limit: limit})
}

func adminUsers(o *operator.Operator, r *http.Request, host presence.HostName, limit int) (any, error) {
	query := r.URL.Query()
	return o.Users(r.Context(), host, query.Get("channel"), query.Get("after"), limit)
}

// listed returns the host and the limit of a request for a list. The limit is 0 if there is none.
func listed(r *http.Request) (host presence.HostName, limit int, err error) {
	query := r.URL.Query()
	if host, err = presence.ParseHostName(query.Get("host")); err != nil {
		return host, 0, fmt.Errorf("host: %w: write %s?host=HOST", err, r.URL.Path)
	}
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > operator.MaxPage {
			return host, 0, fmt.Errorf("limit: use a number from 1 to %d", operator.MaxPage)
		}
	}
	return host, limit, nil
}

// adminAct answers the endpoint of an action.
func adminAct(action string) adminAnswer {
	return func(_ *gateway.Hub, r *http.Request) (int, any, error) {
		host, _, err := listed(r)
		if err != nil {
			return http.StatusBadRequest, nil, err
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, api.MaxAction+1)) // Act refuses one that is too large
		if err != nil {
			return http.StatusBadRequest, nil, fmt.Errorf("reading the body: %w", err)
		}
		o := loadedOperator()
		if o == nil {
			return adminRefused(operator.ErrNoHost)
		}
		result, err := o.Act(r.Context(), byAdmin, host, action, body)
		if err != nil {
			return adminRefused(err)
		}
		return http.StatusOK, result, nil
	}
}

// breakerName names the breakers of a plugin, as the answer of /rollcall/plugins does.
type breakerName struct {
	Plugin string `json:"plugin"`
	Host   string `json:"host"` // "" for a plugin that all hosts share
}

func adminResetBreaker(_ *gateway.Hub, r *http.Request) (int, any, error) {
	const limit = 4 << 10 // bytes
	var name breakerName
	if err := json.NewDecoder(io.LimitReader(r.Body, limit)).Decode(&name); err != nil || name.Plugin == "" {
		return http.StatusBadRequest, nil, errors.New(`the body names no plugin: send {"plugin":"NAME","host":"HOST"}`)
	}
	o := loadedOperator()
	if o == nil {
		return adminRefused(operator.ErrNoPlugin)
	}
	if err := o.ResetBreaker(byAdmin, name.Plugin, name.Host); err != nil {
		return adminRefused(err)
	}
	return http.StatusOK, name, nil
}

// adminRefused returns the status of an error of package operator.
func adminRefused(err error) (int, any, error) {
	if refused, ok := errors.AsType[*api.ActError](err); ok {
		return refused.Problem.Status, nil, err
	}
	if errors.Is(err, operator.ErrPluginFailed) {
		return http.StatusBadGateway, nil, err
	}
	return http.StatusNotFound, nil, err
}
