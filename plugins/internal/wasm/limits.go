package wasm

// Limits are the configurable limits of [Check]. Zero means 16 MiB and 256 pages.
type Limits struct {
	// File is the largest file, in bytes.
	File int
	// MemoryPages is the largest initial memory of a module, in pages of 64 KiB.
	MemoryPages uint32
}

const (
	defaultFile        = 16 << 20
	defaultMemoryPages = 256
)

// Limits of a module's content. The numbers in the comments are the largest seen in about forty
// plugins from C, Rust, Go, TinyGo, AssemblyScript, Zig and Haskell. A limit on a feature that a
// hostile file can use to consume time or memory is two to four times that number. Others are far
// above.
const (
	maxTypes      = 10_000 // 1,719 (Haskell)
	maxParams     = 128
	maxResults    = 32
	maxImports    = 64     // 30
	maxExports    = 256    // 30
	maxFunctions  = 20_000 // 4,573; a million empty functions compile for 3.6 s
	maxTables     = 4      // 1
	maxTableSum   = 65_536 // 6,229 entries; every instance has its own tables, outside the memory limit
	maxGlobals    = 4_096  // 11
	maxElements   = 10_000 // segments
	maxElementSum = 65_536 // 6,229 entries; wazero allocates about 60 bytes for one byte
	maxData       = 65_536 // segments
	maxName       = 1_024  // bytes of the name of an import, an export or a section
	maxCustom     = 1_024  // sections, each of any size

	maxBody      = 128 << 10 // bytes: 79,964 (Haskell), 29,238 (Go)
	maxLocals    = 2_048     // per function: 811
	maxLocalsSum = 500_000   // in all functions
	maxNesting   = 2_048     // 1,706 (Haskell), 549 (Go)
	maxTargets   = 4_096     // per br_table: 3,125
	maxBranches  = 16_384    // targets of all br_tables in a function
	// Time to compile, in the units of walk.effort: about half a microsecond on one core. 144,472
	// (Haskell) for a function, 2,429,527 (Go with encoding/json) for a module. A function below
	// the limit compiles in about a second, a module in about ten.
	maxEffort    = 600_000
	maxEffortSum = 10_000_000
	// maxPoints is the number of places with a charge. Each makes the metered module about 20 bytes
	// longer. 5,555 (Haskell), 3,632 (Go).
	maxPoints = 65_536
	// maxEdits is the number of places where the metered module differs, returns included. 7,301
	// (Go).
	maxEdits = 131_072
)
