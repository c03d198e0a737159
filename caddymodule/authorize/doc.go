// Package authorize asks the backend of a site whether a user may join a channel: one HTTP request
// for each question, signed according to Standard Webhooks.
//
// [Asker.Ask] returns the answer to a [Question], and waits for it if it is not kept. A question
// goes Ask -> flight -> queue of its host -> request -> kept answers of its host. A flight is one
// question under way; a second Ask of the same text waits for the same flight. Each host has its
// own slots, queue, answers and breaker, so that a slow backend delays no other host.
//
// Everything fails closed: without an answer that says yes, Ask returns [ErrUnavailable] or an
// Answer that does not allow. Only answers are kept, failures are not.
//
// [Asker.Forget] drops the kept answers for users. A question that was asked before Forget and
// is answered after it is asked again.
//
// The package knows HTTP. It knows neither Caddy nor channels and their permissions.
package authorize
