// Package server starts the measured servers, each as a process, and reads their memory, CPU time
// and open files from the kernel. It needs Linux.
package server
