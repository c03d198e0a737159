// Package audit checks a deployment from outside: it has connections, users and channels of its own
// on one site, so it knows who is connected, and compares that with what each pod says.
//
// [Run] is the whole audit. Users come, join channels, send and leave; a watcher on each pod
// listens to all channels; an asker for each pod asks the endpoints for backends. What they do and
// receive goes into three ledgers. The ledger of stays judges answers, the one of frames judges
// presence, and the one of messages judges messages. [Report] counts their findings.
//
// Answers are judged by intervals, as Rollcall-Complete promises: a connection that was open for
// the whole time of an answer is in it, and one that was open at no moment of that time is not.
// Only monotonic clocks of this process decide.
//
// The package never uses an admin endpoint, and imports no other wing.
package audit
