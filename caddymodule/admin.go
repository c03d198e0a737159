package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// AdminAPI answers operators at Caddy's admin endpoint:
//
// GET /rollcall/hosts lists the hosts that have connections, with numbers and without names.
//
// GET /rollcall/plugins lists the plugins that are loaded, with their instances and breakers by host.
//
// GET /rollcall/health tells whether this process takes connections: 200, or 503 while it stops or is not configured.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.rollcall",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (*AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/rollcall/hosts", Handler: adminGet(adminHosts)},
		{Pattern: "/rollcall/plugins", Handler: adminGet(adminPlugins)},
		{Pattern: "/rollcall/health", Handler: adminGet(adminHealth)},
	}
}

type hostReport struct {
	Host          string `json:"host"`
	Connections   int    `json:"connections"`
	Authenticated int    `json:"authenticated"` // connections with a user
	Anonymous     int    `json:"anonymous"`
	Users         int    `json:"users"` // distinct
	Channels      int    `json:"channels"`
}

func adminHosts(h *hub) (int, any) {
	reports := []hostReport{}
	if h != nil {
		for _, host := range h.registry.Hosts() {
			s := host.Stats()
			reports = append(reports, hostReport{
				Host: host.Name().String(), Connections: s.Conns, Authenticated: s.LoggedIn,
				Anonymous: s.Anonymous, Users: s.Users, Channels: s.Channels,
			})
		}
	}
	return http.StatusOK, reports
}

func adminPlugins(h *hub) (int, any) {
	if h == nil {
		return http.StatusOK, []plugins.Report{}
	}
	return http.StatusOK, h.plugins.reports()
}

type healthReport struct {
	Status      string `json:"status"` // ok, draining or not_configured
	DataCenter  string `json:"data_center,omitempty"`
	Pod         string `json:"pod,omitempty"`
	Connections int64  `json:"connections"` // open sockets, those included that take leave
}

func adminHealth(h *hub) (int, any) {
	if h == nil {
		return http.StatusServiceUnavailable, healthReport{Status: "not_configured"}
	}
	report := healthReport{Status: "ok", Connections: h.metrics.open()}
	now := h.current()
	if now == nil || h.draining.Load() {
		report.Status = "draining"
		return http.StatusServiceUnavailable, report
	}
	report.DataCenter, report.Pod = now.app.DataCenter, now.app.Pod
	return http.StatusOK, report
}

// adminGet answers GET with what report says. The hub is looked for at each request: the admin API is made before the
// apps are, and outlives none of them.
func adminGet(report func(*hub) (int, any)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet {
			return caddy.APIError{
				HTTPStatus: http.StatusMethodNotAllowed,
				Err:        fmt.Errorf("method %s not allowed: use GET", r.Method),
			}
		}
		status, body := report(loadedHub())
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		return json.NewEncoder(w).Encode(body)
	}
}

var _ caddy.AdminRouter = (*AdminAPI)(nil)
