// Package history judges what clients of several pods observed of one value: who wrote and who read
// it, and when.
//
// A [Recorder] collects the operations on each [Key]. [Check] then demands three things. The
// complete writes and the reads at rest are linearizable: a single order explains them, in which no
// operation precedes another that returned before it was called. Every other read is regular: it
// returns the last complete write before it, or a write that was concurrent. And all reads at rest
// return the same.
package history
