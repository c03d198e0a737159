// Package wasm checks a WebAssembly binary before wazero decodes it, and rewrites it so that it counts its steps.
//
// [Check] reads a file once and returns a [Module], or an error that says what is wrong and where. wazero trusts
// declared counts: a file of 15 bytes that announces four thousand million types ends the process with "out of
// memory", which cannot be recovered from. Check allocates nothing that a count asks for, bounds everything that
// makes compiling slow, and refuses what plugins do not need: growing tables, threads, tail calls, exceptions, typed
// references, more than one memory, and imports of anything but functions.
//
// [Module.Meter] returns a module that computes the same and counts steps in two exported globals. Without it
// native code cannot be interrupted: an endless loop would hold up the garbage collector, and with it the process, for
// ever. A metered module goes back to the Go runtime at least once in [Slice] steps. A function counts up to 64 steps
// of its loops by itself: each running function with loops may add as many to that. What a call that returned has used is
// exact. A metered module also ends calls that nest so deep that the stack would take more than some megabytes. It has
// no start section: its start function is an export, so that the host can end it like any other call.
//
// The package decides what is in a module and not whether it is valid: types and operands are checked by wazero, when
// it compiles the metered module. It knows nothing of the plugin contract, of files or of wazero.
package wasm
