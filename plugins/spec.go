package plugins

import (
	"encoding/json"
	"fmt"

	"go.uber.org/zap"
)

// Policy says what follows from a plugin's failure.
type Policy uint8

const (
	// Deny fails the call: nothing happens, and nothing is shown, that the plugin might have refused.
	Deny Policy = iota
	// Pass goes on as if the plugin were not there.
	Pass
)

// ParsePolicy returns the policy of the name "deny" or "pass".
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "deny":
		return Deny, nil
	case "pass":
		return Pass, nil
	default:
		return Deny, fmt.Errorf("unknown policy %q, use deny or pass", s)
	}
}

// String returns "deny" or "pass".
func (p Policy) String() string {
	if p == Pass {
		return "pass"
	}
	return "deny"
}

// Spec says which plugin to load, and how it is run.
type Spec struct {
	// Path is the file of the module.
	Path string
	// Name is the plugin's name in logs and metrics. Default: the base name of Path without ".wasm".
	Name string
	// SHA256 is the hash that the file must have, in hexadecimal. Default: any file is loaded.
	SHA256 string
	// Config is a JSON value that each instance gets before its first call. Default: {}.
	Config json.RawMessage
	// OnFailure is the policy for failures. Default: Deny.
	OnFailure Policy
	// Shared lets all hosts use the same instances. The guest then gets an empty host in its configuration.
	Shared bool
	// Limits bound what the plugin may use.
	Limits Limits
	// Logger gets the failures and what the guest logs. Default: the engine's.
	Logger *zap.Logger
	// Counters returns what the calls of a host are counted in; it is called once for each host that the plugin serves,
	// and again after the host was idle. For a shared plugin the host is "". Default: counters that nobody reads.
	Counters func(host string) *Counters
}
