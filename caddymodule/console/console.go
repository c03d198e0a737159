package console

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Operator answers questions about hosts over all pods, see [operator.Operator].
type Operator interface {
	Hosts(ctx context.Context, sees func(presence.HostName) bool) operator.Hosts
	Channels(ctx context.Context, host presence.HostName, page presence.Page) (operator.ChannelList, error)
	Users(ctx context.Context, host presence.HostName, channel, after string, limit int) (operator.Users, error)
	User(ctx context.Context, host presence.HostName, id string) (operator.Found, error)
	Act(ctx context.Context, by string, host presence.HostName, name string, body []byte) (operator.Result, error)
	ResetBreaker(by, plugin, host string) error
}

// Pod answers questions about this pod, see [gateway.Hub].
type Pod interface {
	// NamedHosts returns the hosts that the configuration names in full, in no order.
	NamedHosts() []presence.HostName
	Traffic(wanted func(label string) bool) []gateway.Traffic
	Queues(wanted func(host string) bool, limit int) (copied, events []gateway.Queue)
	ClusterReport(ctx context.Context) cluster.Report
	PluginReports() []plugins.Report
	PluginCalls() []pluginhost.Calls
}

// Config is what a Server needs. All fields are required.
type Config struct {
	Operator Operator
	Pod      Pod
	// Draining reports whether requests are refused because the process is stopping.
	Draining func() bool
}

// Server serves the console of all sites.
type Server struct {
	cfg   Config
	hosts sharedHosts

	// mu guards the numbers of open streams.
	mu      sync.Mutex
	streams int
	bySite  map[any]int
	byUser  map[streamUser]int
}

// New returns a server without streams.
func New(c Config) *Server {
	return &Server{cfg: c, bySite: make(map[any]int), byUser: make(map[streamUser]int)}
}

// Visit is who asks for the console, and what they see of it. The caller has checked that they may.
type Visit struct {
	User   string                       // ID of the user; "" for everybody, on a console that is open
	Client string                       // address of the client, for logs
	Secure bool                         // the client uses TLS
	Net    netip.Prefix                 // addresses that count as one client, for limits
	Site   any                          // site whose limits apply, any comparable value
	All    bool                         // the hosts of the whole process, and the numbers of pods
	Sees   func(presence.HostName) bool // hosts that are shown
	Loads  func(*plugins.Report) bool   // reports whether a site of these hosts has the plugin
	Alone  func(*plugins.Report) bool   // reports whether no other site has it
	Ended  <-chan struct{}              // closed when the server of the request shuts down

	// Retired is set when another configuration has replaced the one that let the user in. If nil,
	// none does.
	Retired *atomic.Bool
}

// hasEnded reports whether the configuration that let the user in has ended. Its successor may not
// let them in.
func (v *Visit) hasEnded() bool {
	select {
	case <-v.Ended:
		return true
	default:
		return v.Retired != nil && v.Retired.Load()
	}
}

// by returns who does something, for logs.
func (v *Visit) by() string {
	if v.User != "" {
		return v.User
	}
	return "anonymous (" + v.Client + ")"
}

// Refuse answers a request for the console that may not be served, with the headers of all answers.
func Refuse(w http.ResponseWriter, p *problem.Problem) {
	setHeaders(w.Header())
	p.Write(w)
}

// Serve answers a request. path is the rest of the path after the prefix. It returns false if there
// is no such path.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, path string, v Visit) bool {
	var answer func()
	switch path {
	case "", "/", "/app.js", "/dom.js", "/plot.js", "/stream.js", "/views.js", "/style.css", "/icon.svg":
		answer = func() { servePage(w, r, path) }
	case "/events":
		answer = func() { s.serveEvents(w, r, v) }
	case "/action":
		answer = func() { s.serveAction(w, r, v) }
	default:
		return false // the headers are not those of other handlers
	}
	setHeaders(w.Header())
	answer()
	return true
}
