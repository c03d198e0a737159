// Package assignment knows which users a backend has assigned to which channels of a host, and keeps it.
//
// A [Book] has all assignments in memory, so that who is to be joined to what is answered without I/O, and a [Store]
// below it, which has them on disk before a change is acknowledged. [File] is the store of a pod. A change is a
// [Record] with a [Version]: of two records of one user and channel the later holds, in the book, in the file and on
// every pod, whatever the order in which they come. So pods keep each other right by exchanging records ([Book.Merge]),
// which are found by comparing sums ([Book.Sums]).
//
// Without a store, or with one that fails, a book goes on answering and takes over what other pods have; only changes of
// its own are refused.
package assignment
