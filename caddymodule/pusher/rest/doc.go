// Package rest is the HTTP API of the Pusher Channels protocol, by which backends send events, and
// ask who is there.
//
// A [Server] routes a request, checks its signature, and hands it to the function of its endpoint.
// Each group of endpoints has a file: events, channels, and connections. They do what the endpoints
// of package api do, with the same registry and the same pods.
package rest
