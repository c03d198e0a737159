// Package ws is shared by the tests of the whole program: a websocket client that reads frames
// under a deadline, a crowd of such clients, and requests to the endpoints.
//
// Helpers take the test first, and end it if an expected event does not come. None of them sleeps
// for a fixed time.
package ws
