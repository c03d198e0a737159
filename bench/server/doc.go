// Package server starts the servers that are measured, each a process of its own, and reads what the kernel says of them:
// memory, CPU time, open files. It needs Linux.
package server
