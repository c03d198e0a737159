// Package clients embeds the client of the websocket protocol for browsers: an ES module without
// dependencies, and its TypeScript declarations.
//
// The folder js is also the npm package rollcall-client, so both have one source. There is no build
// step for the server: js/rollcall.js is served as client.js without its comments, because every
// page loads it, and js/rollcall.d.ts as it is.
package clients
