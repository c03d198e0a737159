package rest

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Door is the handler that received a request.
type Door = api.Door

// Pods are the pods of the deployment, including this one, see [cluster.Cluster].
type Pods interface {
	AllUsers(ctx context.Context, host presence.HostName, members bool, per presence.Per) ([]cluster.DataCenter, cluster.Truth)
	Users(
		ctx context.Context, host presence.HostName, scope cluster.Scope, per presence.Per, page presence.Page,
	) (list []presence.Listing, next string, truth cluster.Truth)
	ChannelUsers(
		ctx context.Context, host presence.HostName, scope cluster.Scope, channel string, per presence.Per,
	) ([]presence.Listing, cluster.Truth)
	Channels(ctx context.Context, host presence.HostName, scope cluster.Scope) ([]presence.Listing, cluster.Truth)
	LastEvent(ctx context.Context, host presence.HostName, channel string) (presence.LastEvent, bool, cluster.Truth)
	Disconnect(ctx context.Context, host presence.HostName, channel string, call *cluster.Call) (int, cluster.Truth)
}

// Local is what this pod does with its own connections, see [cluster.Local].
type Local interface {
	Disconnect(host presence.HostName, channel string, call *cluster.Call) int
}

// Config is what the endpoints need. All fields but Tracer are required.
type Config struct {
	Registry *presence.Registry
	Local    Local
	// PodsToAsk returns the pods of all data centers. If this pod is alone, it returns nil and
	// whether its answers are complete.
	PodsToAsk func(of *site.Site) (Pods, cluster.Truth)
	// CheckSend refuses messages to a site for now, with an error that says why and what to do.
	CheckSend func(of *site.Site) error
	// Sent counts an event. If err is nil, it was sent.
	Sent func(host presence.HostName, err error)
	// Draining reports whether requests are refused because the process is stopping.
	Draining func() bool
	// BadKey counts a request that was signed with one of a set of keys, which has a hash. It
	// returns how long the client must wait, or 0 if the request is valid, see [api.BadKeys].
	BadKey func(set [32]byte, client netip.Prefix, right bool, now time.Time) time.Duration
	// Observe counts a request to an endpoint that was answered with an HTTP status.
	Observe func(endpoint string, status int, start time.Time)
	Tracer  *tracing.Tracer // makes a span for each request; if nil, there are none
	// Received returns the URL that the client has sent and signed: other handlers may have changed
	// it.
	Received func(r *http.Request) *url.URL
}

// Server serves the apps of all sites. It outlives a configuration.
type Server struct{ Config }

// New returns a server.
func New(c Config) *Server { return &Server{c} }

// response is the body of a successful answer, an object, and its completeness.
type response struct {
	body  []byte
	truth cluster.Truth
}

// Serve answers a request to an app. appID and tail are the parts of the escaped path behind
// /apps/: tail is channels/presence-a, for example.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, appID, tail string, by Door) {
	start := time.Now()
	to, args := route(tail)
	c := call{appID: appID, args: args, to: to, by: by}
	var span *tracing.Span
	if to != nil {
		ctx := r.Context()
		if ctx, span = s.Tracer.FromRequest(ctx, "apps/"+to.name); span != nil {
			r = r.WithContext(ctx)
		}
	}
	a, e := s.answer(w, r, &c)
	status, code := http.StatusOK, ""
	if e != nil {
		status, code = e.status, strconv.Itoa(e.status)
		e.write(w)
	} else {
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Length", strconv.Itoa(len(a.body)))
		problem.SetTruth(header, a.truth)
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.body) // if it fails, the client is gone
	}
	if to != nil {
		s.Observe("apps/"+to.name, status, start)
		span.End(c.host.String(), status, code)
	}
}

// call is a request whose endpoint is known.
type call struct {
	appID string // escaped
	to    *endpoint
	args  []string
	by    Door
	host  presence.HostName // asked, and then that of the app; zero before it is known
}

// answer carries a request out. The order of the checks is that of the protocol.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *call) (response, *failure) {
	if p := c.by.CheckAddress(r); p != nil {
		return response{}, failed(p)
	}
	switch {
	case c.to == nil:
		return response{}, fail(http.StatusNotFound, "there is no such endpoint below /apps/%s", c.appID)
	case r.Method != c.to.method:
		e := fail(http.StatusMethodNotAllowed, "use %s", c.to.method)
		e.allow = c.to.method
		return response{}, e
	case api.IsEarly(r):
		return response{}, failed(problem.TooEarly())
	case s.Draining():
		return response{}, failed(problem.Draining())
	}
	q, e := s.accept(w, r, c)
	if e != nil {
		return response{}, e
	}
	a, e := c.to.answer(s, r.Context(), q)
	if e == nil && !a.truth.Complete && q.complete() {
		return response{}, incomplete(a.truth)
	}
	return a, e
}

// request is a request to an app whose signature was checked.
type request struct {
	site   *site.Site // serves the host
	host   presence.HostName
	config *app.Config
	args   []string // unescaped variable parts of the path
	params app.Params
	body   []byte
}

// complete reports whether an answer that lacks pods is to be refused.
func (q *request) complete() bool { return q.params.Get("require_complete") == "1" }
