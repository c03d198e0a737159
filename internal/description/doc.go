// Package description compares what tests send and receive with docs/openapi.yaml and
// docs/asyncapi.yaml, which describe Rollcall for programs.
//
// [Exchange.Check] judges a request to an endpoint and its response, a [Socket] the frames of one
// connection. The helpers that most tests use call them, so a test need not. Schemas of what
// Rollcall sends are closed: a key that they do not name is an error, though clients ignore it.
// What tests send may break its schema if Rollcall refuses it, and must not otherwise.
//
// [Unseen] lists what no call of the process has had.
package description
