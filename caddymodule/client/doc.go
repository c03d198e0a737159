// Package client embeds the browser client of the websocket protocol: an ES module without
// dependencies, and its TypeScript declarations.
//
// The files are served as they are: there is no build step. client.js has few comments because
// every page loads it; client.d.ts is its documentation.
package client
