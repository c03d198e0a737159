// Package client holds the browser client of the websocket protocol: an ES module without dependencies and its TypeScript
// declarations, embedded as they are served.
//
// The files are the source: there is no build step. client.js keeps its comments few because every page loads it;
// client.d.ts is its documentation.
package client
