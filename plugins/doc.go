// Package plugins runs WebAssembly modules that decide what a channel is and what an answer shows.
//
// An [Engine] is what all plugins of a process share: the memory budget, the cache of compiled code, the watchdog. Its
// Load reads a file, checks it, makes it count its steps, compiles it and holds its imports and exports to the
// contract; the result is a [Plugin]. A [Chain] is the plugins of one site in their order, and has a method for each
// hook: Classify, Authorize, Members and Shape.
//
// A call goes from the chain to the plugin's pool for that host, which lends out one instance; the request is written
// into the memory of the instance, the guest is called with a budget of steps, and its result is checked before
// anything is made of it. Instances belong to one plugin and one host, so a guest never sees two hosts, unless the
// plugin is loaded as shared.
//
// What can go wrong in a guest ends in an [Error] with a [Reason]: the instance is discarded, the failure counted and
// logged, and the plugin's [Policy] decides whether the caller gets the error or the chain goes on without the plugin.
//
// The package knows nothing of Caddy, HTTP or presence. It never gives a guest files, sockets, arguments or an
// environment, never runs a module that does not count its steps, and never closes an instance that is in a call.
package plugins
