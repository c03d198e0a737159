package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

type endpoint struct{ name, method string }

// endpoints are the paths below the prefix that a rollcall handler serves, with their methods.
var endpoints = []endpoint{
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

// IsEndpoint reports whether a handler with the prefix serves the path.
func IsEndpoint(path, prefix string) bool {
	name, ok := strings.CutPrefix(path, prefix)
	return ok && slices.ContainsFunc(endpoints, func(e endpoint) bool { return e.name == name })
}

// EndpointPaths returns the paths that a handler with the prefix serves.
func EndpointPaths(prefix string) []string {
	paths := make([]string, len(endpoints))
	for i, e := range endpoints {
		paths[i] = prefix + e.name
	}
	return paths
}

func pathURL(path string) *url.URL { return &url.URL{Path: path} }
