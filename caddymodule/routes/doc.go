// Package routes finds out at load which requests reach a rollcall handler, and says which site
// owns each host.
//
// It sees the routes of a configuration as a plain model: a [List] has a [Route] at each index, a
// route has matchers and a [Handler] at each position. Package caddymodule makes the model of
// Caddy's routes, each part when it is first asked for, and finds the [Way] to each rollcall
// handler. Where only Caddy knows the answer, as for a path or a rewrite, the model has a function
// that asks Caddy.
//
// [CheckPaths] and [CheckReach] look for what keeps requests from a handler. [Owners.Enter] makes a
// handler a [Door] to its hosts, and compares it with the doors to the same hosts. All of that is
// done when [Owners.Settle] is called: from then on the owners never change, and hold no routes.
package routes
