package console

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// takeHost adds what the view shows of a host.
func (s *Server) takeHost(ctx context.Context, q query, snap *snapshot) error {
	from := s.cfg.Operator
	switch q.view {
	case viewHost:
		list, err := from.Channels(ctx, q.host, presence.Page{Prefix: q.filter, After: q.after, Limit: pageRows})
		if err != nil {
			return err
		}
		snap.Channels = &list
		snap.join(list.Complete, list.Missing)
	case viewChannel:
		list, err := from.Users(ctx, q.host, q.channel, q.after, pageRows)
		if err != nil {
			return err
		}
		for i := range list.Users {
			snap.cut(&list.Users[i])
		}
		snap.Users = &list
		snap.join(list.Complete, list.Missing)
	case viewUser:
		found, err := from.User(ctx, q.host, q.user)
		if err != nil {
			return err
		}
		if found.User != nil {
			snap.cut(found.User)
		}
		snap.Found = &found
		snap.join(found.Complete, found.Missing)
	}
	return nil
}

// cut keeps the first connections of a user, and the first channels of each.
func (snap *snapshot) cut(u *operator.User) {
	if n := len(u.Connections); n > pageRows {
		u.Connections, snap.Cut = u.Connections[:pageRows], snap.Cut+n-pageRows
	}
	for i := range u.Connections {
		c := &u.Connections[i]
		if n := len(c.Channels); n > maxTags {
			c.Channels, snap.Cut = c.Channels[:maxTags], snap.Cut+n-maxTags
		}
	}
}

// join adds how complete another part is.
func (snap *snapshot) join(complete bool, missing []string) {
	snap.Complete = snap.Complete && complete
	for _, pod := range missing {
		if !slices.Contains(snap.Missing, pod) {
			snap.Missing = append(snap.Missing, pod)
		}
	}
}

// seesLabel reports whether the numbers with a host label of the metrics are shown. Those that
// stand for several hosts, such as _other, are shown with all hosts only. Such a label could be
// read as the name of a host.
func (v *Visit) seesLabel(label string) bool {
	if v.All {
		return true
	}
	host, err := presence.ParseHostName(label)
	return err == nil && !strings.HasPrefix(label, "_") && v.Sees(host)
}

func (s *Server) traffic(v *Visit, q query) *trafficPage {
	page := new(trafficPage)
	page.Hosts = s.cfg.Pod.Traffic(func(label string) bool {
		return v.seesLabel(label) && label > q.after && strings.Contains(label, q.filter)
	})
	if n := len(page.Hosts); n > pageRows {
		page.Hosts, page.More = page.Hosts[:pageRows], n-pageRows
	}
	return page
}

func (s *Server) plugins(v *Visit) *pluginPage {
	page := &pluginPage{Plugins: []pluginRow{}, Calls: []pluginhost.Calls{}}
	reports, shared := s.reports(v)
	names := make(map[string]bool)
	for _, r := range reports {
		names[r.Name] = true
		row := pluginRow{Plugin: r.Name, SHA256: r.SHA256, OnFailure: r.OnFailure, Shared: r.Shared}
		shown := 0
		for _, h := range r.Hosts {
			if h.Host == "" || v.seesLabel(h.Host) { // "" if instances serve all hosts
				row.HostReport = h
				if h.Host == "" && h.LastFailure != "" && !v.All && !v.Alone(&r) {
					row.LastFailure = "not shown, as other sites share this plugin" // it can have what the plugin said of a user there
				}
				page.addPlugin(row)
				shown++
			}
		}
		if shown == 0 {
			row.Breaker = "closed"
			page.addPlugin(row)
		}
	}
	for _, c := range s.cfg.Pod.PluginCalls() {
		switch {
		case !v.All && (!names[c.Plugin] || c.Host == pluginhost.SharedHosts && shared[c.Plugin]):
		case c.Host != pluginhost.SharedHosts && !v.seesLabel(c.Host):
		case len(page.Calls) == 2*pageRows:
			page.More++
		default:
			page.Calls = append(page.Calls, c)
		}
	}
	return page
}

// reports returns the reports of the plugins that are shown, and the names of plugins that are not
// shown: files of several sites can have one name.
func (s *Server) reports(v *Visit) (shown []plugins.Report, others map[string]bool) {
	others = make(map[string]bool)
	for _, r := range s.cfg.Pod.PluginReports() {
		if v.Loads(&r) {
			shown = append(shown, r)
		} else {
			others[r.Name] = true
		}
	}
	return shown, others
}

// mayReset returns why a viewer may not reset the breakers of a plugin for a host, or those for all
// hosts if host is "". These have the name of the plugin only, so they must be of no other site;
// and a plugin that fails for the hosts of another site is not called again there.
func (s *Server) mayReset(v *Visit, plugin, host string) *problem.Problem {
	if v.All {
		return nil
	}
	reports, others := s.reports(v)
	reports = slices.DeleteFunc(reports, func(r plugins.Report) bool { return r.Name != plugin })
	if len(reports) == 0 || host == "" && others[plugin] || host != "" && !v.seesLabel(host) {
		return noHost()
	}
	if host == "" && slices.ContainsFunc(reports, func(r plugins.Report) bool { return !v.Alone(&r) }) {
		return &problem.Problem{
			Status: http.StatusForbidden, Code: "denied",
			Detail: "other sites share this plugin and its breaker: reset it on a console with hosts all",
		}
	}
	return nil
}

func (p *pluginPage) addPlugin(row pluginRow) {
	if len(p.Plugins) == pageRows {
		p.More++
		return
	}
	p.Plugins = append(p.Plugins, row)
}

// cluster returns the pods. Whoever sees only some hosts does not see how much the others have.
func (s *Server) cluster(ctx context.Context, v *Visit) *cluster.Report {
	report := s.cfg.Pod.ClusterReport(ctx)
	report.Bus.Routes = nil
	if v.All {
		return &report
	}
	pods := make([]cluster.PodReport, len(report.Pods))
	for i, pod := range report.Pods {
		pod.Connections, pod.Hosts = 0, 0
		pods[i] = pod
	}
	report.Messages = cluster.Messages{}
	report.Pods, report.Bus.URL, report.Bus.Listen, report.Bus.LastError = pods, "", "", ""
	return &report
}
