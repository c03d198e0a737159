package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// AdminAPI answers operators at Caddy's admin endpoint:
//
// GET /rollcall/hosts lists the hosts that have connections, with numbers but without users: those
// of this pod, or with ?scope=all those of all pods.
//
// GET /rollcall/channels?host=HOST lists the active channels of a host on all pods. prefix, after
// and limit select a page.
//
// GET /rollcall/users?host=HOST lists the users of a host on all pods, or of one &channel=CHANNEL,
// without e-mail addresses. after and limit select a page.
//
// POST /rollcall/sendmessage, disconnect and leave with ?host=HOST do what the endpoints of these
// names below /message do, with the same body but without a key.
//
// GET /rollcall/plugins lists the loaded plugins, with their instances and breakers by host.
//
// POST /rollcall/plugins/reset with {"plugin":NAME,"host":HOST} closes the breakers of a plugin on
// this pod.
//
// GET /rollcall/cluster shows the deployment as this pod sees it: its pods, and the state of each.
//
// POST /rollcall/cluster/forget with {"data_center":DC,"pod":POD} ends a pod that is missing and
// will not come back: 200, 409 if it is heard, or 404 if no such pod is missing.
//
// GET /rollcall/explain?host=HOST&user=ID shows why a user is listed: the connections, with their
// pods and channels.
//
// GET /rollcall/health reports whether clients should be sent to this pod: 200, or 503 while Caddy
// starts it and it joins its cluster, while it stops, or if it is not configured.
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
	return append(operatorRoutes(), []caddy.AdminRoute{
		{Pattern: "/rollcall/hosts", Handler: adminGet(adminHosts)},
		{Pattern: "/rollcall/plugins", Handler: adminGet(adminPlugins)},
		{Pattern: "/rollcall/cluster", Handler: adminGet(adminCluster)},
		{Pattern: "/rollcall/cluster/forget", Handler: adminPost(adminForget)},
		{Pattern: "/rollcall/explain", Handler: adminGet(adminExplain)},
		{Pattern: "/rollcall/health", Handler: adminGet(adminHealth)},
	}...)
}

type hostReport struct {
	Host          string `json:"host"`
	Connections   int    `json:"connections"`
	Authenticated int    `json:"authenticated"` // connections with a user
	Anonymous     int    `json:"anonymous"`
	Users         int    `json:"users"` // distinct users
	Channels      int    `json:"channels"`
}

func adminHosts(h *gateway.Hub, r *http.Request) (int, any, error) {
	switch scope := r.URL.Query().Get("scope"); scope {
	case "all":
		return adminAllHosts(r)
	case "", "pod":
	default:
		return http.StatusBadRequest, nil, errors.New("scope: use pod or all")
	}
	reports := []hostReport{}
	if h != nil {
		for _, host := range h.Registry.Hosts() {
			s := host.Stats()
			reports = append(reports, hostReport{
				Host: host.Name().String(), Connections: s.Conns, Authenticated: s.LoggedIn,
				Anonymous: s.Anonymous, Users: s.Users, Channels: s.Channels,
			})
		}
	}
	return http.StatusOK, reports, nil
}

func adminPlugins(h *gateway.Hub, _ *http.Request) (int, any, error) {
	if h == nil {
		return http.StatusOK, []plugins.Report{}, nil
	}
	return http.StatusOK, h.Plugins.Reports(), nil
}

type healthReport struct {
	Status      string `json:"status"` // ok, starting, draining or not_configured
	DataCenter  string `json:"data_center,omitempty"`
	Pod         string `json:"pod,omitempty"`
	Connections int64  `json:"connections"` // open sockets, also while they are being closed
}

// isRunning reports whether Caddy has started all apps of a configuration with Rollcall. It starts
// them in no order, so HTTP may not listen before. Tests without a running Caddy replace it.
var isRunning = func() bool {
	_, err := caddy.ActiveContext().AppIfConfigured("rollcall")
	return err == nil
}

func adminHealth(h *gateway.Hub, _ *http.Request) (int, any, error) {
	if h == nil {
		return http.StatusServiceUnavailable, healthReport{Status: "not_configured"}, nil
	}
	report := healthReport{Status: "ok", Connections: int64(h.Connections())}
	now := h.InEffect() // nil before the configuration starts, which can wait for plugins to compile
	if h.Stopping() {
		report.Status = "draining"
		return http.StatusServiceUnavailable, report, nil
	}
	if now != nil {
		report.DataCenter, report.Pod = now.DataCenter, now.Pod
	}
	if now == nil || !isRunning() || h.Starting() {
		report.Status = "starting"
		return http.StatusServiceUnavailable, report, nil
	}
	return http.StatusOK, report, nil
}

// adminAnswer answers a request to the admin endpoint with a status and a body. The hub is nil if
// Rollcall is not configured.
type adminAnswer func(h *gateway.Hub, r *http.Request) (status int, body any, err error)

func adminGet(answer adminAnswer) caddy.AdminHandlerFunc { return adminOnly(http.MethodGet, answer) }

func adminPost(answer adminAnswer) caddy.AdminHandlerFunc { return adminOnly(http.MethodPost, answer) }

// adminOnly answers requests of one method. It looks for the hub at each request: the admin API is
// made before the apps are, and outlives none of them.
func adminOnly(method string, answer adminAnswer) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			w.Header().Set("Allow", method)
			return caddy.APIError{
				HTTPStatus: http.StatusMethodNotAllowed,
				Err:        fmt.Errorf("method %s not allowed: use %s", r.Method, method),
			}
		}
		status, body, err := answer(loadedHub(), r)
		if err != nil {
			return caddy.APIError{HTTPStatus: status, Err: err}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		return json.NewEncoder(w).Encode(body)
	}
}

var _ caddy.AdminRouter = (*AdminAPI)(nil)

// loadedHub returns the hub, nil if there is none. It takes no reference to it.
func loadedHub() *gateway.Hub {
	if p := loadedProcess(); p != nil {
		return p.Hub
	}
	return nil
}

func adminCluster(h *gateway.Hub, r *http.Request) (int, any, error) {
	if h == nil {
		return http.StatusOK, cluster.Report{Pods: []cluster.PodReport{}}, nil
	}
	return http.StatusOK, h.ClusterReport(r.Context()), nil
}

// podName names a pod in a request of an operator.
type podName struct {
	DataCenter string `json:"data_center"`
	Pod        string `json:"pod"`
}

func adminForget(h *gateway.Hub, r *http.Request) (int, any, error) {
	const limit = 4 << 10 // bytes; two names need far less
	var name podName
	if err := json.NewDecoder(io.LimitReader(r.Body, limit)).Decode(&name); err != nil || name.DataCenter == "" || name.Pod == "" {
		return http.StatusBadRequest, nil, errors.New(`the body names no pod: send {"data_center":"DC","pod":"POD"}`)
	}
	err := gateway.ErrNoCluster
	if h != nil {
		err = h.Forget(name.DataCenter, name.Pod)
	}
	switch {
	case err == nil:
		return http.StatusOK, name, nil
	case errors.Is(err, cluster.ErrPodUnknown):
		return http.StatusNotFound, nil, fmt.Errorf("%w: see caddy rollcall cluster for those that are unreachable", err)
	}
	return http.StatusConflict, nil, err
}

func adminExplain(h *gateway.Hub, r *http.Request) (int, any, error) {
	query := r.URL.Query()
	host, err := presence.ParseHostName(query.Get("host"))
	if err != nil {
		return http.StatusBadRequest, nil, fmt.Errorf("host: %w: write /rollcall/explain?host=HOST&user=ID", err)
	}
	user := query.Get("user")
	if presence.CheckUserID(user) != nil {
		return http.StatusBadRequest, nil, errors.New("user: not a user ID: write /rollcall/explain?host=HOST&user=ID")
	}
	e := cluster.Explanation{
		Host: host.String(), User: user, Complete: true, Missing: []string{}, Connections: []cluster.ExplainedConnection{},
	}
	if h == nil {
		return http.StatusOK, e, nil
	}
	conns, truth := h.ExplainAll(r.Context(), host, user)
	e.Complete = truth.Complete
	e.Missing = append(e.Missing, truth.Missing...)
	for _, c := range conns {
		e.Connections = append(e.Connections, cluster.ExplainedConnection{
			DataCenter: c.DataCenter, Pod: c.Pod, Connection: c.ID, Email: c.Email,
			Since: operator.RFC3339(c.Since), LastSign: operator.RFC3339(c.LastSign), Channels: append([]string{}, c.Channels...),
		})
	}
	return http.StatusOK, e, nil
}
