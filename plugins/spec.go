package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/disk"
)

// Policy decides what a plugin's failure means for a call.
type Policy uint8

const (
	// Deny fails the call: nothing is done or shown that the plugin might have refused.
	Deny Policy = iota
	// Pass continues as if the plugin were not there.
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

// Spec describes a plugin to load.
type Spec struct {
	// Path is the file of the module.
	Path string
	// Name is the plugin's name in logs and metrics. Default: the base name of Path without
	// ".wasm".
	Name string
	// SHA256 is the expected hash of the file, in hexadecimal. Default: any file is loaded.
	SHA256 string
	// Config is a JSON value that each instance gets before its first call. Default: {}.
	Config json.RawMessage
	// OnFailure is the policy for failures. Default: Deny.
	OnFailure Policy
	// Shared lets all hosts use the same instances. The guest then gets an empty host in its
	// configuration.
	Shared bool
	// Limits bound the resources of the plugin.
	Limits Limits
	// Logger logs failures and the guest's output. Default: the engine's.
	Logger *zap.Logger
	// CheckGrants checks the key channels in a result of connect, which is JSON. If nil, a result
	// with this key is an invalid one.
	CheckGrants func(channels []byte) error
	// Counters returns the counters of a host. It is called once for each host that the plugin
	// serves, and again after the host was idle. For a shared plugin the host is "". Default: calls
	// are counted but not reported.
	Counters func(host string) *Counters
	// Counts are the counters that the plugin names itself. Default: they are not reported.
	Counts *Counts
	// Serves reports whether the site of the plugin serves a host. What the plugin has stored for
	// other hosts ends. It must be fast. If nil, every host is served.
	Serves func(host string) bool
}

// Hash returns the SHA-256 of the file in hexadecimal. Like [Engine.Load], it does not read a file
// above the limit or a path that is not a regular file.
func (s Spec) Hash() (string, error) {
	limits, err := s.Limits.withDefaults()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	if err := disk.Copy(hash, s.Path, limits.File); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Defaults of [Limits].
const (
	DefaultMemory          = 16 << 20
	DefaultFile            = 16 << 20
	DefaultDocument        = 256 << 10
	DefaultInitBudget      = 50_000_000
	DefaultClassifyBudget  = 1_000_000
	DefaultMembersBudget   = 200_000
	DefaultShapeBudget     = 200_000_000
	DefaultConnectBudget   = 5_000_000
	DefaultMessageBudget   = 1_000_000
	DefaultKV              = 1 << 20
	DefaultClassifyTimeout = 5 * time.Millisecond
	DefaultMessageTimeout  = 10 * time.Millisecond
	DefaultShapeTimeout    = 250 * time.Millisecond
)

// Ranges that [Limits.Validate] accepts.
const (
	pageSize     = 64 << 10
	minMemory    = pageSize
	maxMemory    = 1 << 30
	maxFile      = 64 << 20
	maxDocument  = 64 << 20
	maxInstances = 1024
	maxBudget    = 1_000_000_000_000
	maxTimeout   = time.Minute
)

// Limits bounds the resources of a plugin. A zero field means its default.
type Limits struct {
	// Memory is the maximum for one instance, in bytes, rounded down to pages of 64 KiB. Default:
	// 16 MiB.
	Memory int64
	// File is the largest module that is read, in bytes. Default: 16 MiB.
	File int64
	// Document is the largest answer that is passed to the hook shape, in bytes. Default: 256 KiB.
	Document int64
	// KV is the maximum that is stored for one host, in bytes. Default: 1 MiB.
	KV int64
	// Instances is the maximum for one host. With two or more, one is left for classify and
	// authorize. Default: GOMAXPROCS, at least 2.
	Instances int

	// InitBudget is the number of steps for making one instance: start function, _initialize and
	// configure. Default: 50 million.
	InitBudget int64
	// ClassifyBudget is the number of steps for a call of classify or authorize. Default: 1
	// million.
	ClassifyBudget int64
	// MembersBudget is the number of steps for each user in a call of members, in addition to 1
	// million for the call. Default: 200,000.
	MembersBudget int64
	// ShapeBudget is the number of steps for a call of shape. Default: 200 million.
	ShapeBudget int64
	// ConnectBudget is the number of steps for a call of connect. Default: 5 million.
	ConnectBudget int64
	// MessageBudget is the number of steps for a call of message, in addition to 100 for each byte
	// of the message. Default: 1 million.
	MessageBudget int64

	// ClassifyTimeout ends a call of classify or authorize. It includes the wait for an instance.
	// Default: 5 ms.
	ClassifyTimeout time.Duration
	// MessageTimeout ends a call of message, including the wait for an instance, and a call of
	// connect, or of members for [EndpointLive] or [EndpointEvents], without it. Default: 10 ms.
	MessageTimeout time.Duration
	// ShapeTimeout ends any other call of members, or of shape, including the wait for an instance.
	// It also ends the wait of connect. Default: 250 ms.
	ShapeTimeout time.Duration
}

// Validate returns an error that names the first limit that is out of range, and the range.
func (l Limits) Validate() error {
	_, err := l.withDefaults()
	return err
}

func (l Limits) withDefaults() (Limits, error) {
	l.Instances = orDefault(l.Instances, max(2, runtime.GOMAXPROCS(0)))
	for _, v := range []struct {
		name           string
		value          *int64
		standard       int64
		least, largest int64
	}{
		{"memory", &l.Memory, DefaultMemory, minMemory, maxMemory},
		{"file", &l.File, DefaultFile, 1, maxFile},
		{"document", &l.Document, DefaultDocument, 1, maxDocument},
		{"init_budget", &l.InitBudget, DefaultInitBudget, 1, maxBudget},
		{"classify_budget", &l.ClassifyBudget, DefaultClassifyBudget, 1, maxBudget},
		{"members_budget", &l.MembersBudget, DefaultMembersBudget, 1, maxBudget},
		{"shape_budget", &l.ShapeBudget, DefaultShapeBudget, 1, maxBudget},
		{"connect_budget", &l.ConnectBudget, DefaultConnectBudget, 1, maxBudget},
		{"message_budget", &l.MessageBudget, DefaultMessageBudget, 1, maxBudget},
		{"kv", &l.KV, DefaultKV, 1, maxMemory},
	} {
		*v.value = orDefault(*v.value, v.standard)
		if *v.value < v.least || *v.value > v.largest {
			return l, fmt.Errorf("%s: %d is out of range, want %d to %d", v.name, *v.value, v.least, v.largest)
		}
	}
	if l.Instances < 1 || l.Instances > maxInstances {
		return l, fmt.Errorf("instances: %d is out of range, want 1 to %d", l.Instances, maxInstances)
	}
	for _, v := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"classify_timeout", &l.ClassifyTimeout, DefaultClassifyTimeout},
		{"message_timeout", &l.MessageTimeout, DefaultMessageTimeout},
		{"shape_timeout", &l.ShapeTimeout, DefaultShapeTimeout},
	} {
		*v.value = orDefault(*v.value, v.standard)
		if *v.value < time.Millisecond || *v.value > maxTimeout {
			return l, fmt.Errorf("%s: %v is out of range, want 1ms to %v", v.name, *v.value, maxTimeout)
		}
	}
	return l, nil
}

// pages returns the memory limit in WebAssembly pages.
func (l Limits) pages() uint32 { return uint32(l.Memory / pageSize) }

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
