// Package ws is what the tests of the whole program have in common: a websocket client that reads frames under a
// deadline, a crowd of such clients, and requests to the endpoints.
//
// Helpers take the test first, and end it when what they wait for does not come. None of them sleeps for a fixed time.
package ws
