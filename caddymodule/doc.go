// Package caddymodule puts Rollcall into Caddy: websockets, the endpoints that say who is connected, and what operators
// need around them.
//
// Three modules are registered. [App] (rollcall) names the pod and holds what outlives a configuration; [Handler]
// (http.handlers.rollcall) serves one site; [AdminAPI] (admin.api.rollcall) answers operators.
//
// All live state sits in one gateway.Hub for the process, which a reload meets again through a caddy.UsagePool. A
// configuration is an immutable snapshot that the hub swaps when Caddy stops the one before: only then is it certain that
// the new one holds. A handler is a door by which requests come in: which site answers depends on the host.
//
// The plugins of a site are a chain, which presence asks through the site's rules what a channel is and who may join it.
// What they share, compiled code and all, belongs to the hub. A file that is watched is swapped in the chain, and new
// rules have every decision taken anew.
//
// Of the packages below this one, only command knows Caddy. Package gateway has connections and
// what outlives a configuration; api answers backends, with what package answer writes; routes
// finds out at load which requests reach a handler, and which site owns each host; site is one
// site, ready to serve; pluginhost, assign and copies keep plugins, assignments and copies of
// messages through reloads; socket is a websocket after the upgrade, wire the frames on it, token
// the check of JSON web tokens, backend the queue of copies, problem an answer that says what went
// wrong, client the script for browsers.
package caddymodule
