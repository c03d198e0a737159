// Package memory is the border between a plugin and Rollcall: bytes as pointers and lengths. It is empty outside of a
// plugin.
package memory
