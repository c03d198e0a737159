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

// Reason is why a call failed, in one word. It is a label of metrics, so the set is closed.
type Reason string

// Reasons of failures.
const (
	// ReasonBudget: the guest used up its steps.
	ReasonBudget Reason = "budget"
	// ReasonTimeout: the watchdog ended the call.
	ReasonTimeout Reason = "timeout"
	// ReasonTrap: the guest did what WebAssembly forbids, panicked or aborted.
	ReasonTrap Reason = "trap"
	// ReasonExit: the guest ended itself with proc_exit.
	ReasonExit Reason = "exit"
	// ReasonBadResult: the guest returned -1 or a value that the contract does not allow.
	ReasonBadResult Reason = "bad_result"
	// ReasonMemory: the memory limits left no room for an instance or its input.
	ReasonMemory Reason = "memory"
	// ReasonBusy: no instance became free within the timeout of the call.
	ReasonBusy Reason = "busy"
	// ReasonInit: the start function or _initialize of a new instance failed.
	ReasonInit Reason = "init"
	// ReasonConfigure: a new instance refused its configuration.
	ReasonConfigure Reason = "configure"
	// ReasonBreaker: the plugin failed too often for this host recently, and was not called.
	ReasonBreaker Reason = "breaker"
	// ReasonTooLarge: the input is larger than the hook accepts, and was not passed to the guest.
	ReasonTooLarge Reason = "too_large"
)

// Reasons lists all reasons. Their indexes are those of [CountersSnapshot].
var Reasons = [...]Reason{
	ReasonBudget, ReasonTimeout, ReasonTrap, ReasonExit, ReasonBadResult, ReasonMemory,
	ReasonBusy, ReasonInit, ReasonConfigure, ReasonBreaker, ReasonTooLarge,
}

// Error is the failure of a plugin in a call. Its text may contain what the guest logged: it is for
// the server's log, not for clients.
type Error struct {
	Plugin string
	Host   string
	// Hook is the hook that was to be called; HookNone in an error of [Plugin.Try].
	Hook   Hook
	Reason Reason
	Err    error
}

// Error returns the text for a log. It leaves out the hook if the call did not reach it.
func (e *Error) Error() string {
	if e.Hook == HookNone || e.Reason == ReasonInit || e.Reason == ReasonConfigure {
		return fmt.Sprintf("plugin %s for host %q: %s: %v", e.Plugin, e.Host, e.Reason, e.Err)
	}
	return fmt.Sprintf("plugin %s for host %q: %s: %s: %v", e.Plugin, e.Host, e.Hook, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// fault is a failure before it is counted, logged and returned as an [Error].
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

// recordFailure counts and logs a failure, and passes it to the breaker.
func (p *pool) recordFailure(h Hook, f *fault, probe bool) *fault {
	p.counters.failed[h][reasonIndex(f.reason)].Add(1)
	p.mu.Lock()
	p.failures++
	p.lastFailure = cutText(h.String()+": "+f.String(), 2<<10)
	if f.reason == ReasonMemory || f.reason == ReasonInit || f.reason == ReasonConfigure {
		p.misses[h]++
	}
	misses := p.misses[h]
	p.mu.Unlock()
	var pause time.Duration
	switch f.reason {
	case ReasonBreaker:
		return f
	case ReasonBusy, ReasonTooLarge:
		// Not the guest's fault, and without cost for it.
		if probe {
			p.breakers[h].ReturnProbe()
		}
	default:
		pause = p.breakers[h].RecordFailure(p.calls(h)+misses, probe)
	}
	p.logFailure("plugin failed", f, zap.Stringer("hook", h), zap.Stringer("on_failure", p.plugin.policy))
	if pause > 0 && p.plugin.failureLines.allow() {
		p.logger.Warn("plugin is not called for a while, it failed too often", zap.Stringer("hook", h), zap.Duration("pause", pause))
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
	skipped, ok := limit.AllowIf(logAgain, p.plugin.failureLines.allow)
	if !ok {
		return
	}
	p.logger.Error(message, append(fields, zap.String("reason", string(f.reason)), zap.Error(printableError{f.err}),
		zap.Int("not_logged_before", skipped))...)
}

// maxFrames is the largest number of functions in the text of a trap.
const maxFrames = 8

// trapError is the error of a call into a guest, on one line.
type trapError struct {
	call  string // what was called; empty for the hook, which the caller knows
	cause error
	// instead replaces the text of cause if the host ended the call; empty if the guest trapped by
	// itself.
	instead string
}

// Error returns why and where the call ended, the innermost function first.
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
	for len(frames) > 1 && strings.HasPrefix(frames[0], ".rollcall.") { // functions of the meter
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

// Unwrap returns wazero's error.
func (e *trapError) Unwrap() error { return e.cause }

// explain returns the reason of an error that callGuest returned, and makes its text name the
// option that ended the call. It runs after the call. h is HookNone if the call made the instance.
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

// budgetOptions names the option that bounds the steps of each hook; for HookNone, those of making
// an instance.
var budgetOptions = [...]string{
	HookClassify: "classify_budget", HookAuthorize: "classify_budget", HookMembers: "members_budget",
	HookShape: "shape_budget", HookConnect: "connect_budget", HookMessage: "message_budget", HookMembersLive: "members_budget", HookNone: "init_budget",
}

// timedOut returns the text for a call that a timeout ended.
func (p *pool) timedOut(h Hook) string {
	switch h {
	case HookClassify, HookAuthorize:
		return fmt.Sprintf("ended after %v (classify_timeout)", p.plugin.limits.ClassifyTimeout)
	case HookMembers, HookShape:
		return fmt.Sprintf("ended after %v (shape_timeout)", p.plugin.limits.ShapeTimeout)
	case HookConnect, HookMessage, HookMembersLive:
		return fmt.Sprintf("ended after %v (message_timeout)", p.plugin.limits.MessageTimeout)
	default:
		return fmt.Sprintf("ended after %v", initTimeout)
	}
}

// newTrapError returns an error of callGuest that names the called function; call is empty for a
// hook.
func newTrapError(call string, err error) error { return &trapError{call: call, cause: err} }
