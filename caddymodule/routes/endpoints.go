package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

type endpoint struct{ path, method string }

// native are the paths below the prefix that a rollcall handler serves, with their methods.
// openapi.yaml is not among them: nothing is lost where a site has a file of its own there, so that
// is no obstacle.
var native = []endpoint{
	{"/socket", http.MethodGet},
	{"/users", http.MethodPost},
	{"/allusers", http.MethodPost},
	{"/channels", http.MethodPost},
	{"/sendmessage", http.MethodPost},
	{"/adduser", http.MethodPost},
	{"/removeuser", http.MethodPost},
	{"/online", http.MethodPost},
	{"/disconnect", http.MethodPost},
	{"/leave", http.MethodPost},
	{"/client.js", http.MethodGet},
	{"/client.d.ts", http.MethodGet},
}

// appEndpoints are the paths of the HTTP API of an app, below /apps and its ID.
var appEndpoints = []endpoint{
	{"/events", http.MethodPost},
	{"/batch_events", http.MethodPost},
	{"/channels", http.MethodGet},
	{"/channels/x", http.MethodGet},
	{"/channels/x/users", http.MethodGet},
	{"/users/x/terminate_connections", http.MethodPost},
	{"/connections", http.MethodGet},
}

// Endpoints says which paths a handler serves. Two can be compared.
type Endpoints struct {
	Prefix string
	// AppKey and AppID are those of the first app for clients of the Pusher protocol. The paths of
	// all apps are served, at the root of the site and below AppPath. "" if the handler has no
	// apps.
	AppKey, AppID string
	AppPath       string // "" for the root alone
}

func (e Endpoints) hasApps() bool { return e.AppKey != "" }

// kind says whom an endpoint is for.
type kind int8

const (
	nativeKind kind = iota // clients and backends of the native protocol
	socketKind             // clients of the Pusher protocol
	apiKind                // backends of the Pusher protocol
)

// of returns the endpoints of a kind.
func (e Endpoints) of(k kind) []endpoint {
	if k != nativeKind && !e.hasApps() {
		return nil
	}
	switch k {
	case nativeKind:
	case socketKind:
		return e.below([]endpoint{{"/app/" + e.AppKey, http.MethodGet}})
	case apiKind:
		return e.below(prefixed("/apps/"+e.AppID, appEndpoints))
	}
	return prefixed(e.Prefix, native)
}

// below returns endpoints at the root of the site and below AppPath.
func (e Endpoints) below(all []endpoint) []endpoint {
	if e.AppPath == "" {
		return all
	}
	return append(slices.Clip(all), prefixed(e.AppPath, all)...)
}

func prefixed(prefix string, all []endpoint) []endpoint {
	below := make([]endpoint, len(all))
	for i, of := range all {
		below[i] = endpoint{prefix + of.path, of.method}
	}
	return below
}

// all returns all endpoints.
func (e Endpoints) all() []endpoint {
	return slices.Concat(e.of(nativeKind), e.of(socketKind), e.of(apiKind))
}

// Has reports whether a handler with the endpoints serves the path.
func (e Endpoints) Has(path string) bool {
	if name, ok := strings.CutPrefix(path, e.Prefix); ok && slices.ContainsFunc(native, func(of endpoint) bool { return of.path == name }) {
		return true
	}
	return e.hasApps() && slices.ContainsFunc(slices.Concat(e.of(socketKind), e.of(apiKind)), func(of endpoint) bool { return of.path == path })
}

// Paths returns the paths that a handler with the endpoints serves, for the first of its apps.
func (e Endpoints) Paths() []string {
	all := e.all()
	paths := make([]string, len(all))
	for i, of := range all {
		paths[i] = of.path
	}
	return paths
}

// patterns returns the patterns of a path matcher that lets every request for the endpoints
// through.
func (e Endpoints) patterns() []string {
	patterns := []string{e.Prefix + "/*"}
	if e.hasApps() {
		patterns = append(patterns, "/app/*", "/apps/*")
	}
	if e.AppPath != "" {
		patterns = append(patterns, e.AppPath+"/app/*", e.AppPath+"/apps/*")
	}
	return patterns
}

// handle returns the block of a Caddyfile that gives the requests for the endpoints to rollcall.
func (e Endpoints) handle() string {
	patterns := e.patterns()
	if len(patterns) == 1 {
		return "handle " + patterns[0] + " { rollcall ... }"
	}
	return "@rollcall path " + strings.Join(patterns, " ") + " with handle @rollcall { rollcall ... }"
}

func pathURL(path string) *url.URL { return &url.URL{Path: path} }
