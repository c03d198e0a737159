// Package wasm checks a WebAssembly binary before wazero decodes it, and rewrites it so that it
// counts its steps.
//
// [Check] reads a file once and returns a [Module], or an error that says what is wrong and where.
// wazero trusts declared counts: a file of 15 bytes that declares four billion types ends the
// process with "out of memory", which cannot be recovered from. Check allocates nothing on the word
// of a count, and bounds everything that makes compiling slow. It refuses what plugins do not need:
// growing tables, threads, tail calls, exceptions, typed references, more than one memory, and
// imports other than functions.
//
// [Module.Meter] returns a module that computes the same and counts its steps in two exported
// globals. Unmetered native code cannot be interrupted: an endless loop would block the garbage
// collector, and with it the process, forever.
//
// A metered module
//   - returns to the Go runtime at least once in [Slice] steps. A function counts up to 64
//     steps of its loops by itself: each running function with loops may add that many.
//   - counts exactly the steps of a call that returned.
//   - ends calls that nest so deep that the stack would need more than some megabytes.
//   - has no start section: its start function is an export, so that the host can end it like
//     any other call.
//
// The package does not validate: wazero checks types and operands when it compiles the metered
// module. It knows nothing of the plugin contract, of files or of wazero.
package wasm
