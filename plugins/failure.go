package plugins

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/sys"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/internal/plural"
)

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

// fault is a failure before anyone is told of it.
type fault struct {
	reason Reason
	err    error
}

func faultf(r Reason, format string, args ...any) *fault {
	return &fault{r, fmt.Errorf(format, args...)}
}

func (f *fault) String() string { return printable(fmt.Sprintf("%s: %v", f.reason, f.err)) }

func (p *pool) error(h Hook, f *fault) *Error {
	return &Error{Plugin: p.plugin.name, Host: p.host, Hook: h, Reason: f.reason, Err: printableError{f.err}}
}

// failed counts and logs a failure, and tells the breaker.
func (p *pool) failed(h Hook, f *fault, probe bool) *fault {
	p.counters.failed[h][reasonIndex(f.reason)].Add(1)
	p.mu.Lock()
	p.failures++
	p.lastFailure = cutText(h.String()+": "+f.String(), 2<<10)
	if f.reason == ReasonMemory || f.reason == ReasonInit || f.reason == ReasonConfigure {
		p.misses++
	}
	misses := p.misses
	p.mu.Unlock()
	var pause time.Duration
	switch f.reason {
	case ReasonBreaker:
		return f
	case ReasonBusy, ReasonTooLarge:
		// They say nothing of the guest, and cost it nothing.
		if probe {
			p.breaker.Undecided()
		}
	default:
		pause = p.breaker.Failed(p.calls()+misses, probe)
	}
	p.logFailure("plugin failed", f, zap.Stringer("hook", h), zap.Stringer("on_failure", p.plugin.policy))
	if pause > 0 && p.plugin.failureLines.take() {
		p.logger.Warn("plugin is not called for a while, it failed too often", zap.Duration("pause", pause))
	}
	return f
}

func (p *pool) logFailure(message string, f *fault, fields ...zap.Field) {
	p.mu.Lock()
	limit := p.logged[f.reason]
	if limit == nil {
		limit = new(oftenlog.Limit)
		p.logged[f.reason] = limit
	}
	p.mu.Unlock()
	skipped, ok := limit.AllowIf(logAgain, p.plugin.failureLines.take)
	if !ok {
		return
	}
	p.logger.Error(message, append(fields, zap.String("reason", string(f.reason)), zap.Error(printableError{f.err}),
		zap.Int("not_logged_before", skipped))...)
}

// maxFrames bounds the functions that the text of a trap names.
const maxFrames = 8

// trapError is the error of a call into a guest, on one line.
type trapError struct {
	call  string // what was called; empty for the hook, which is known
	cause error
	// instead is said in place of the cause, which is the trap that ended the call; empty if the guest trapped by itself.
	instead string
}

// Error returns why the call ended, and where: the innermost function first.
func (e *trapError) Error() string {
	text, trace, found := strings.Cut(e.cause.Error(), "\nwasm stack trace:\n\t")
	if e.instead != "" {
		text = e.instead
	}
	if e.call != "" {
		text = e.call + ": " + text
	}
	if !found {
		return text
	}
	frames := strings.Split(trace, "\n\t")
	for len(frames) > 1 && strings.HasPrefix(frames[0], ".rollcall.") { // of the meter
		frames = frames[1:]
	}
	if len(frames) > maxFrames {
		frames = append(frames[:maxFrames:maxFrames], "...")
	}
	for i, frame := range frames {
		frames[i] = strings.TrimPrefix(frame, ".")
	}
	return text + ", in " + strings.Join(frames, " < ")
}

// Unwrap returns the error of wazero.
func (e *trapError) Unwrap() error { return e.cause }

// explain finds the reason of an error that callGuest returned, and has its text name the option that ended the call.
// The call is over; h is HookNone if it made the instance.
func (in *instance) explain(err error, h Hook, ended bool) Reason {
	reason, instead := ReasonTrap, ""
	switch exit := (*sys.ExitError)(nil); {
	case ended:
		reason, instead = ReasonTimeout, in.pool.timedOut(h)
	case errors.As(err, &exit):
		reason = ReasonExit
	case int64(in.slice.Get()) < 0 && int64(in.steps.Get()) <= 0:
		reason, instead = ReasonBudget, fmt.Sprintf("budget of %s spent (%s)", plural.Of(in.budget, "step"), budgetOptions[h])
	}
	if trap, ok := errors.AsType[*trapError](err); ok {
		trap.instead = instead
	}
	return reason
}

// budgetOptions has the option that bounds the steps of each hook, and of making an instance.
var budgetOptions = [...]string{
	HookClassify: "classify_budget", HookAuthorize: "classify_budget", HookMembers: "members_budget",
	HookShape: "shape_budget", HookNone: "init_budget",
}

// timedOut says which limit of time ended a call.
func (p *pool) timedOut(h Hook) string {
	switch h {
	case HookClassify, HookAuthorize:
		return fmt.Sprintf("ended after %v (classify_timeout)", p.plugin.limits.ClassifyTimeout)
	case HookMembers, HookShape:
		return fmt.Sprintf("ended after %v (shape_timeout)", p.plugin.limits.ShapeTimeout)
	default:
		return fmt.Sprintf("ended after %v", initTimeout)
	}
}

// trapped returns the error of callGuest with the name of what was called, which is empty for a hook.
func trapped(call string, err error) error { return &trapError{call: call, cause: err} }
