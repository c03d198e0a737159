// Package plugins runs WebAssembly modules that decide about logins, channels, joins and messages,
// and change what answers and browsers show.
//
// # Usage
//
// An [Engine] holds what all plugins of a process share: the memory budget, the cache of compiled
// code, the watchdog. [Engine.Load] reads a file, checks it, makes it count its steps, compiles it
// and compares its imports and exports with the contract. The result is a [Plugin]. A [Chain] holds
// the plugins of one site in order and has a method for each hook: Connect, Classify, Authorize,
// Message, Members, Show and Shape.
//
// # Data flow
//
// A call goes from the chain to the plugin's pool for the host, which lends one instance. The
// request is written into the memory of the instance. The guest is called with a budget of steps,
// and its result is checked before it is used. An instance belongs to one plugin and one host, so a
// guest never sees two hosts, unless the plugin is loaded as shared.
//
// # Failures
//
// Every failure of a guest becomes an [Error] with a [Reason]. The instance is discarded, and the
// failure is counted and logged. The plugin's [Policy] decides whether the caller gets the error or
// the chain continues without the plugin.
//
// The package knows nothing of Caddy, HTTP or presence. It never gives a guest files, sockets,
// arguments or an environment, never runs a module that does not count its steps, and never closes
// an instance during a call.
package plugins
