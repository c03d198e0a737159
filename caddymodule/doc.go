// Package caddymodule puts Rollcall into Caddy: websockets, the endpoints that list who is
// connected, and the endpoints for operators.
//
// Three modules are registered. [App] (rollcall) names the pod and holds what outlives a
// configuration; [Handler] (http.handlers.rollcall) serves one site; [AdminAPI]
// (admin.api.rollcall) answers operators.
//
// All live state is in one gateway.Hub for the process, which every configuration gets through a
// caddy.UsagePool. A configuration is immutable. The hub puts it into effect when Caddy stops the
// previous one: only then is it certain that Caddy keeps it. A handler is a door through which
// requests come in; the host decides which site answers.
//
// The plugins of a site form a chain. Through the site's rules, presence asks the chain for the
// class of a channel and for permission to join. The hub owns what plugins share, such as compiled
// code. When a watched file changes, the chain gets the new plugin, and new rules repeat every
// decision.
//
// Of the packages below this one, only command imports Caddy:
//   - gateway: connections, and everything else that outlives a configuration
//   - api: the endpoints for backends
//   - answer: the bodies of their answers
//   - routes: which requests reach a handler, and which site owns each host, at load
//   - site: one site, ready to serve
//   - console: the page for operators
//   - operator: what operators see and do, for the admin endpoints and the console
//   - pluginhost, assign, copies: plugins, assignments and copies of messages through reloads
//   - backend: the queue of copies
//   - socket: a websocket after the upgrade
//   - wire: the frames on it
//   - tracing: spans, with the provider of Caddy's tracing
//   - token: the check of JSON web tokens
//   - problem: error responses
//   - client: the script for browsers
//   - audit: caddy rollcall audit, a client of a deployment
package caddymodule
