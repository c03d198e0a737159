package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

func adminCluster(h *gateway.Hub, r *http.Request) (int, any, error) {
	if h == nil {
		return http.StatusOK, cluster.Report{Pods: []cluster.PodReport{}}, nil
	}
	return http.StatusOK, h.ClusterReport(r.Context()), nil
}

func adminExplain(h *gateway.Hub, r *http.Request) (int, any, error) {
	query := r.URL.Query()
	host, err := presence.ParseHostName(query.Get("host"))
	if err != nil {
		return http.StatusBadRequest, nil, fmt.Errorf("host: %w: write /rollcall/explain?host=HOST&user=ID", err)
	}
	user := query.Get("user")
	if presence.CheckUserID(user) != nil {
		return http.StatusBadRequest, nil, errors.New("user: not the id of a user: write /rollcall/explain?host=HOST&user=ID")
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
			Since: rfc3339(c.Since), LastSign: rfc3339(c.LastSign), Channels: append([]string{}, c.Channels...),
		})
	}
	return http.StatusOK, e, nil
}

// rfc3339 writes a Unix time in milliseconds.
func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
