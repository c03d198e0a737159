// Package client embeds the browser client of the websocket protocol: an ES module without
// dependencies, and its TypeScript declarations.
//
// There is no build step: client.js is served without its comments, because every page loads it,
// and client.d.ts as it is.
package client
