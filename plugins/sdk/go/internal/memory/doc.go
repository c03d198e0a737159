// Package memory exchanges bytes with Rollcall, as pointers and lengths. It is empty outside a
// plugin.
package memory
