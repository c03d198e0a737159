// Package app knows the apps of the Pusher Channels protocol: their keys and signatures, the names
// of sockets and channels, and the texts that a backend signs.
//
// A [Config] has the apps of one site. [Config.VerifySocket] and [Config.VerifySignIn] check what a
// client presents, [App.VerifyRequest] a request to the HTTP API; [Config.ParseMember] and
// [Config.ParseUser] decode what was signed. It holds no state and does no I/O.
package app
