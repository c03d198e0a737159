package plugins

import (
	"context"
	"runtime"
	"sync/atomic"
)

// Plugin is a handle on a loaded plugin.
type Plugin struct {
	anchor   *anchor
	released atomic.Bool
}

// Info describes the file of a plugin.
type Info struct {
	// Size of the file and of the module after it was made to count its steps, in bytes.
	Size        int `json:"size"`
	MeteredSize int `json:"metered_size"`
	// Functions is the number of functions that the module defines.
	Functions int `json:"functions"`
	// MemoryMin is the memory of a new instance, in bytes.
	MemoryMin int64 `json:"memory_min"`
	// MemoryMax is the most that an instance can have, in bytes: the limit, or what the module declares when that is less.
	MemoryMax int64 `json:"memory_max"`
	// Imports and Exports list names with types, as "rollcall.log func (i32, i32, i32) -> ()".
	Imports []string `json:"imports"`
	Exports []string `json:"exports"`
	// Unknown lists the exports whose name begins with "rollcall_" and is not in the contract: they are never called, and
	// may be misspelt hooks.
	Unknown []string `json:"unknown,omitempty"`
	// Configures says that the module exports rollcall_configure.
	Configures bool `json:"configures"`
}

// Name returns the plugin's name.
func (p *Plugin) Name() string { return p.anchor.name }

// Path returns the file that the plugin was loaded from.
func (p *Plugin) Path() string { return p.anchor.key.path }

// Hash returns the SHA-256 of the file in hexadecimal.
func (p *Plugin) Hash() string { return p.anchor.program.key.hash }

// Hooks returns the hooks that the plugin exports.
func (p *Plugin) Hooks() Hooks { return p.anchor.program.hooks }

// Info returns what is known of the file.
func (p *Plugin) Info() Info { return p.anchor.program.info }

// Try makes and configures one instance for host and keeps it warm, unless there is one. The breaker is not asked and
// not told.
//
// # Errors
//
// The text of an [*Error] has what the guest logged. When ctx ends, so does the guest, and the error wraps that of ctx.
func (p *Plugin) Try(ctx context.Context, host string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer runtime.KeepAlive(p)
	pool := p.anchor.pool(host)
	s, f := pool.tryAcquire(ctx)
	if f != nil {
		return pool.error(HookNone, f)
	}
	if s != nil {
		pool.leave(s, slotIdle)
	}
	return nil
}

// Release says that the configuration that loaded the plugin is gone. With the last handle's Release idle instances are
// closed, and others when their call ends. Calls under way, and later ones by those who still hold the plugin, work.
// Releasing twice does nothing.
func (p *Plugin) Release() {
	if p.released.CompareAndSwap(false, true) {
		p.anchor.drop()
	}
}
