// Package pusher tests the Pusher door of the built binary: with the unmodified suites of the client
// pusher-js and of the server library pusher, with Laravel Echo in Node.js and in Chromium, and with
// the numbered tests of the door's specification.
package pusher
