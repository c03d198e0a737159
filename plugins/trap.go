package plugins

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

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
