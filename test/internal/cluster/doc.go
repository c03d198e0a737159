// Package cluster judges the answers of many pods in tests: it knows better than the pods who is
// connected, and so what each of them may answer.
//
// A [model.Model] holds one state of the deployment and computes the only right answer. A [History]
// records which connections existed when, and judges answers that were given during many changes: a
// connection that existed the whole time must be in an answer, and one that did not exist at all
// must not. A [View] is a channel as a listener sees it: the answer to its join and the presence
// frames after it, none of which may contradict an earlier one.
package cluster
