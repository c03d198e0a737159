// Package cluster is what tests of many pods know better than the pods: who is connected, and so what each of them may
// answer.
//
// A [model.Model] holds one state of the deployment and computes the one right answer. A [History] holds who was connected when, and
// judges answers that were given while much was changing: all who were there the whole time must be in an answer, and
// nobody who was not there at all. A [View] is a channel as a listener knows it, from the answer to its join and the
// presence frames after it, none of which may contradict those before.
package cluster
