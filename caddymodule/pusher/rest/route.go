package rest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// endpoint is one kind of request to an app.
type endpoint struct {
	name   string // in metrics
	method string
	path   []string // its parts; "" is a variable one
	answer func(s *Server, ctx context.Context, q *request) (response, *failure)
}

var endpoints = []endpoint{
	{"events", http.MethodPost, []string{"events"}, (*Server).events},
	{"batch_events", http.MethodPost, []string{"batch_events"}, (*Server).batchEvents},
	{"channels", http.MethodGet, []string{"channels"}, (*Server).channels},
	{"channel", http.MethodGet, []string{"channels", ""}, (*Server).channel},
	{"users", http.MethodGet, []string{"channels", "", "users"}, (*Server).users},
	{"terminate_connections", http.MethodPost, []string{"users", "", "terminate_connections"}, (*Server).terminate},
	{"connections", http.MethodGet, []string{"connections"}, (*Server).connections},
}

// route returns the endpoint of the escaped path behind the ID of an app, and the variable parts of
// the path; nil if there is none.
func route(tail string) (*endpoint, []string) {
	parts := strings.Split(tail, "/")
	for i := range endpoints {
		if args, ok := endpoints[i].match(parts); ok {
			return &endpoints[i], args
		}
	}
	return nil, nil
}

func (e *endpoint) match(parts []string) (args []string, ok bool) {
	if len(parts) != len(e.path) {
		return nil, false
	}
	for i, part := range parts {
		switch {
		case e.path[i] == "":
			arg, err := url.PathUnescape(part)
			if err != nil || arg == "" {
				return nil, false
			}
			args = append(args, arg)
		case e.path[i] != part:
			return nil, false
		}
	}
	return args, true
}
