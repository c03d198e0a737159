// Package api answers the requests of backends: listings, messages, assignments, and calls about
// users. The [Server] checks keys and bodies, and each endpoint has a file. Package answer writes
// the answers.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// values is the body of a request, an object. Values are decoded only when they are used, so an
// unknown key is never an error.
type values map[string]json.RawMessage

// request is a request about a host whose key was checked.
type request struct {
	site *site.Site // serves the host
	host presence.HostName
	body values
	raw  []byte // the body as received
}

// response is the answer to a request, as JSON, and its completeness.
type response struct {
	body   []byte
	pieces [][]byte       // of a long answer; if set, body is not used
	truth  *cluster.Truth // nil if the answer does not depend on other pods
	next   string         // header Rollcall-Next; "" if there is no next page
	status int            // HTTP status; 0: 200
}

// Door is the handler that received a request.
type Door interface {
	// Owner returns the site that serves the host, or the reason why this door does not lead to it.
	Owner(host presence.HostName) (*site.Site, *problem.Problem)
	// Other returns the site of another host of the same block as of, if the client of the request
	// may use its endpoints.
	Other(r *http.Request, of *site.Site, host presence.HostName) (*site.Site, *problem.Problem)
	// Client returns the addresses that count as one client with the address of the request, or the
	// zero Prefix.
	Client(r *http.Request) netip.Prefix
	// CheckAddress refuses a request from an address that may not use the endpoints.
	CheckAddress(r *http.Request) *problem.Problem
}

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
	Online(ctx context.Context, host presence.HostName, users []string) ([]cluster.OnlineUser, cluster.Truth)
	Disconnect(ctx context.Context, host presence.HostName, channel string, call *cluster.Call) (int, cluster.Truth)
	LeaveChannels(ctx context.Context, host presence.HostName, call *cluster.Call) (int, cluster.Truth)
}

// Local is what this pod does with its own connections, see [cluster.Local].
type Local interface {
	Disconnect(host presence.HostName, channel string, call *cluster.Call) int
	Leave(host presence.HostName, call *cluster.Call) int
}

// Config is what the endpoints need. All fields but MaxListed and Tracer are required.
type Config struct {
	Registry    *presence.Registry
	Assignments *assign.Keeper
	Local       Local
	// PodsToAsk returns the pods that answer a request of the scope. If this pod alone answers, it
	// returns nil and whether that answer is complete.
	PodsToAsk func(of *site.Site, scope cluster.Scope) (Pods, cluster.Truth)
	// Spread sends changes of assignments to the other pods, and returns which of them have
	// confirmed.
	Spread func(ctx context.Context, of *site.Site, host presence.HostName, records []assignment.Record) cluster.Truth
	// CheckSend refuses messages to a site for now, with an error that says why and what to do.
	CheckSend func(of *site.Site) error
	// Sent counts a message of a backend. If err is nil, it was sent.
	Sent func(host presence.HostName, err error)
	// Tracer makes a span for each request. If nil, there are none.
	Tracer *tracing.Tracer
	// Draining reports whether requests are refused because the process is stopping.
	Draining func() bool
	// MaxListed is the maximum number of entries that an answer lists of all users or channels of
	// this pod; 0: [cluster.MaxListed].
	MaxListed int
}

// Server serves the endpoints of all sites. It outlives a configuration, so that a reload keeps the
// counts of wrong keys.
type Server struct {
	Config
	badKeys  *BadKeys
	requests *prometheus.HistogramVec
	answers  map[string]func(ctx context.Context, q request) (response, *problem.Problem)
}

// New returns a server that has counted no wrong keys.
func New(c Config) *Server {
	c.MaxListed = cmp.Or(c.MaxListed, cluster.MaxListed)
	s := &Server{Config: c, badKeys: NewBadKeys(), requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_rollcall_request_duration_seconds",
		Help:    "How long the endpoints took to answer, by endpoint and HTTP status.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"endpoint", "code"})}
	s.answers = map[string]func(context.Context, request) (response, *problem.Problem){
		"users": s.users, "allusers": s.allUsers, "channels": s.channels, "sendmessage": s.sendMessage,
		"adduser": s.addUser, "removeuser": s.removeUser, "online": s.online, "disconnect": s.disconnect, "leave": s.leave,
	}
	return s
}

// Collectors returns the metrics of the endpoints.
func (s *Server) Collectors() []prometheus.Collector { return []prometheus.Collector{s.requests} }

// BadKeys returns the counts of wrong keys, for another API that has keys.
func (s *Server) BadKeys() *BadKeys { return s.badKeys }

// Observe counts a request to an endpoint that was answered with an HTTP status, also one of
// another API. There may be few different endpoints.
func (s *Server) Observe(endpoint string, status int, start time.Time) {
	s.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
}

// Serve answers a request to the named endpoint. It returns false if there is no such endpoint.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, name string, by Door) bool {
	to := s.answers[name]
	if to == nil {
		return false
	}
	start, status, code := time.Now(), http.StatusOK, ""
	ctx, span := s.Tracer.FromRequest(r.Context(), name)
	var q request
	defer func() {
		s.Observe(name, status, start)
		span.End(q.host.String(), status, code)
	}()
	var p *problem.Problem
	q, p = s.readRequest(w, r, name, by)
	var a response
	if p == nil {
		a, p = to(ctx, q)
	}
	if p != nil {
		status, code = p.Status, p.Code
		p.Write(w)
		return true
	}
	if a.status != 0 {
		status = a.status
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if a.pieces == nil {
		a.pieces = [][]byte{a.body}
	}
	header.Set("Content-Length", strconv.Itoa(answer.Len(a.pieces)))
	if a.truth != nil {
		problem.SetTruth(header, *a.truth)
	}
	if a.next != "" {
		header.Set("Rollcall-Next", a.next)
	}
	w.WriteHeader(status)
	_ = answer.Write(w, a.pieces) // if it fails, the client is gone
	return true
}

// readRequest reads and checks a request. The checks are the same for all endpoints.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request, name string, by Door) (request, *problem.Problem) {
	if p := by.CheckAddress(r); p != nil {
		return request{}, p
	}
	if r.Method != http.MethodPost {
		return request{}, problem.MethodNotAllowed(http.MethodPost)
	}
	if IsEarly(r) {
		return request{}, problem.TooEarly()
	}
	if s.Draining() {
		return request{}, problem.Draining()
	}
	host, err := presence.ParseHostName(r.Host)
	if err != nil {
		return request{}, problem.BadHost()
	}
	of, p := by.Owner(host)
	if p != nil {
		return request{}, p
	}
	raw, p := readBody(w, r, bodyLimit(name), of)
	if p != nil {
		return request{}, p
	}
	body, p := parseRequest(raw)
	if p != nil {
		return request{}, p
	}
	if p := checkSize(name, raw, body); p != nil {
		return request{}, p
	}
	key, p := body.text("apiKey")
	if p != nil {
		return request{}, p
	}
	if _, inBody := body["apiKey"]; !inBody {
		key = r.Header.Get("X-Api-Key")
	}
	// Look the site up again: while the body arrived, a reload may have removed the key.
	if of, p = by.Owner(host); p != nil {
		return request{}, p
	}
	if p := by.CheckAddress(r); p != nil { // a reload may have changed api_from
		return request{}, p
	}
	if p := s.checkKey(of, key, by.Client(r)); p != nil {
		return request{}, p
	}
	if host, of, p = bodyHost(r, by, body, host, of); p != nil {
		return request{}, p
	}
	return request{of, host, body, raw}, nil
}

// IsEarly reports whether a request was received by 0-RTT, by this server or by a proxy in front of
// it (RFC 8470 section 5.1).
func IsEarly(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || r.Header.Get("Early-Data") == "1"
}

// bodyHost returns the host that the body names, for clients that cannot choose the Host header,
// and its site. If the body names none, it returns the host and the site of the request. Both hosts
// must be in one block, so that the key of the request is valid for both; a block with several
// addresses is a handler on each of their listeners. The client's address must be allowed for the
// named host, too: another block can differ only in api_from.
func bodyHost(r *http.Request, by Door, body values, asked presence.HostName, s *site.Site) (presence.HostName, *site.Site, *problem.Problem) {
	text, p := body.text("host")
	if _, named := body["host"]; !named || p != nil {
		return asked, s, p
	}
	host, err := presence.ParseHostName(text)
	if err != nil {
		return asked, s, problem.BadValue("host must be a domain name, like portal.example.com")
	}
	if host == asked {
		return asked, s, nil
	}
	other, p := by.Other(r, s, host)
	return host, other, p
}

// checkKey refuses a request without a key of the site. A missing key does not count as a wrong
// one.
func (s *Server) checkKey(of *site.Site, key string, client netip.Prefix) *problem.Problem {
	// Compare even for a blocked client, so that the response time does not depend on the key.
	right := of.Keys.Allow(key)
	if of.Keys.Open {
		return nil
	}
	if key != "" {
		if wait := s.badKeys.try(badKeyClient{of.Keys.Set, client}, right, time.Now()); wait > 0 {
			return &problem.Problem{
				Status: http.StatusTooManyRequests, Code: "too_many_bad_keys",
				Detail: "too many wrong keys from this address: wait, then send a valid key", Retry: wait,
			}
		}
	}
	if !right {
		return &problem.Problem{
			Status: http.StatusUnauthorized, Code: "bad_key",
			Detail: "send the site's API key as apiKey in the body or in the X-Api-Key header",
		}
	}
	return nil
}

// shaped passes a whole answer through the plugins.
func shaped(a *answer.Plugins, body []byte, truth cluster.Truth, status int) (response, *problem.Problem) {
	body, err := a.Finish(body)
	if err != nil {
		return response{}, problem.PluginFailed()
	}
	return response{body: body, truth: &truth, status: status}, nil
}

// parseRequest decodes a body. An empty body has no values: the key can be in the header.
func parseRequest(raw []byte) (values, *problem.Problem) {
	if len(bytes.Trim(raw, " \t\r\n")) == 0 {
		return values{}, nil
	}
	if !utf8.Valid(raw) { // encoding/json would change names, and browsers would refuse the frame
		return nil, &problem.Problem{Status: http.StatusBadRequest, Code: "bad_json", Detail: "the body is not UTF-8"}
	}
	var body values
	if err := json.Unmarshal(raw, &body); err != nil || body == nil {
		return nil, &problem.Problem{Status: http.StatusBadRequest, Code: "bad_json", Detail: "the body is not a JSON object"}
	}
	return body, nil
}

// withoutKey returns the body as JSON without the API key, in any spelling of its case.
func (b values) withoutKey() []byte {
	rest := make(values, len(b))
	for name, value := range b {
		if !strings.EqualFold(name, "apiKey") {
			rest[name] = value
		}
	}
	text, _ := json.Marshal(rest) // the values are JSON that was decoded
	return text
}

// text returns a string, or "" if the key is absent.
func (b values) text(key string) (string, *problem.Problem) {
	var s string
	p := b.decode(key, &s, "a string")
	return s, p
}

// flag returns a boolean, or absent if the key is absent.
func (b values) flag(key string, absent bool) (bool, *problem.Problem) {
	v := absent
	p := b.decode(key, &v, "true or false")
	return v, p
}

func (b values) decode(key string, to any, want string) *problem.Problem {
	raw, ok := b[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil || string(raw) == "null" {
		return problem.BadValue("%s must be %s", key, want)
	}
	return nil
}
