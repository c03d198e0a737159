package plugins

import "fmt"

// Reason says in one word why a call failed. It is a label of metrics: the set is closed.
type Reason string

// The reasons of failures.
const (
	// ReasonBudget: the guest used up its steps.
	ReasonBudget Reason = "budget"
	// ReasonTimeout: the watchdog ended the call.
	ReasonTimeout Reason = "timeout"
	// ReasonTrap: the guest did what WebAssembly forbids, panicked or aborted.
	ReasonTrap Reason = "trap"
	// ReasonExit: the guest ended itself with proc_exit.
	ReasonExit Reason = "exit"
	// ReasonBadResult: the guest returned -1 or something that the contract does not allow.
	ReasonBadResult Reason = "bad_result"
	// ReasonMemory: an instance could not be made, or had no room for its input, within the memory limits.
	ReasonMemory Reason = "memory"
	// ReasonBusy: no instance became free within the time of the call.
	ReasonBusy Reason = "busy"
	// ReasonInit: the start function or _initialize of a new instance failed.
	ReasonInit Reason = "init"
	// ReasonConfigure: a new instance refused its configuration.
	ReasonConfigure Reason = "configure"
	// ReasonBreaker: the plugin failed too often for this host lately, and was not called.
	ReasonBreaker Reason = "breaker"
	// ReasonTooLarge: the input is larger than the hook takes, and was not offered to the guest.
	ReasonTooLarge Reason = "too_large"
)

// Reasons lists all reasons, in the order of their numbers in [CountersSnapshot].
var Reasons = [...]Reason{
	ReasonBudget, ReasonTimeout, ReasonTrap, ReasonExit, ReasonBadResult, ReasonMemory,
	ReasonBusy, ReasonInit, ReasonConfigure, ReasonBreaker, ReasonTooLarge,
}

// Error is the failure of a plugin in a call. Its text may hold what the guest logged: it is for the log of the
// server, not for clients.
type Error struct {
	Plugin string
	Host   string
	// Hook is the hook that was to be called; HookNone in an error of [Plugin.Try].
	Hook   Hook
	Reason Reason
	Err    error
}

// Error returns the text for a log. It leaves out the hook when that was not reached.
func (e *Error) Error() string {
	if e.Hook == HookNone || e.Reason == ReasonInit || e.Reason == ReasonConfigure {
		return fmt.Sprintf("plugin %s for host %q: %s: %v", e.Plugin, e.Host, e.Reason, e.Err)
	}
	return fmt.Sprintf("plugin %s for host %q: %s: %s: %v", e.Plugin, e.Host, e.Hook, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
