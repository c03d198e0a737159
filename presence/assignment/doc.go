// Package assignment stores which users a backend has assigned to which channels of a host.
//
// A [Book] has all assignments in memory, so that a join needs no I/O. Its [Store] has them on disk
// before a change is acknowledged. [File] is the store of a pod.
//
// A change is a [Record] with a [Version]. Of two records for one user and channel, the later one
// applies: in the book, in the file and on every pod, in whatever order they arrive. Pods find
// records that they lack by comparing sums ([Book.Sums]) and exchange them ([Book.Merge]).
//
// A book has a scope, the hosts that the pod serves ([Book.SetScope]). It drops the records of
// other hosts after a while.
//
// The same book has two more kinds of records, which have to be on every pod and to outlive it:
// revocations of logins ([Book.Revoke]) and epochs ([Book.SetEpoch]).
//
// Without a store, or with one that fails, a book still answers and merges records of other pods.
// It refuses only its own changes.
package assignment
