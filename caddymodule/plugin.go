package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// PluginConfig is one plugin of a site: a WebAssembly module that decides about logins, channels,
// joins and messages, and changes what answers and browsers show.
type PluginConfig struct {
	// The file of the module. A relative path is relative to the working directory. Placeholders
	// are allowed.
	Path string `json:"path,omitempty"`

	// The plugin's name in logs and metrics: 1 to 64 letters, digits, '.', '-' and '_', unique
	// within the site. Default: the name of the file without `.wasm`, followed by a number if it is
	// not unique.
	Name string `json:"name,omitempty"`

	// An object for the plugin, passed before its first call. Known placeholders in its texts are
	// replaced. Default: `{}`.
	Config json.RawMessage `json:"config,omitempty"`

	// The result of a failure: `deny` refuses the connection, the join or the message, or withholds
	// the answer; `pass` continues as if the plugin did not exist. Default: `deny`.
	OnFailure string `json:"on_failure,omitempty"`

	// The SHA-256 hash that the file must have, in hexadecimal. Default: any.
	SHA256 string `json:"sha256,omitempty"`

	// Whether a changed file is loaded without a reload of the configuration. Not together with
	// sha256.
	Watch bool `json:"watch,omitempty"`

	// Whether all hosts use the same instances. The plugin then does not learn which host it
	// serves.
	Shared bool `json:"shared,omitempty"`

	// Whether the hook connect may grant channels to users who log in.
	Grants bool `json:"grants,omitempty"`

	// The maximum size in bytes of what the plugin stores for one host. Not together with shared.
	// Default: 1048576 (1MiB).
	KV int64 `json:"kv,omitempty"`

	// The maximum memory of an instance in bytes. Default: 16777216 (16MiB).
	Memory int64 `json:"memory,omitempty"`

	// The maximum size of the file in bytes. Default: 16777216 (16MiB).
	File int64 `json:"file,omitempty"`

	// The maximum size in bytes of an answer that is passed to the hook shape; a longer one is a
	// failure. Default: 262144 (256KiB).
	Document int64 `json:"document,omitempty"`

	// The maximum number of instances for one host. Of two or more, one is reserved for joins while
	// answers are made. Default: the number of CPUs, at least 2.
	Instances int `json:"instances,omitempty"`

	// The maximum number of steps to create and configure an instance. Default: 50000000.
	InitBudget int64 `json:"init_budget,omitempty"`

	// The maximum number of steps of a call of classify or authorize. Default: 1000000.
	ClassifyBudget int64 `json:"classify_budget,omitempty"`

	// The maximum number of steps of a call of members for each user, in addition to 1000000 for
	// the call. Default: 200000.
	MembersBudget int64 `json:"members_budget,omitempty"`

	// The maximum number of steps of a call of connect. Default: 5000000.
	ConnectBudget int64 `json:"connect_budget,omitempty"`

	// The maximum number of steps of a call of message, in addition to 100 for each byte of the
	// message. Default: 1000000.
	MessageBudget int64 `json:"message_budget,omitempty"`

	// The maximum number of steps of a call of shape. Default: 200000000.
	ShapeBudget int64 `json:"shape_budget,omitempty"`

	// The maximum time of a call of classify or authorize, including the wait for a free instance.
	// Default: `5ms`.
	ClassifyTimeout caddy.Duration `json:"classify_timeout,omitempty"`

	// The maximum time of a call of message, including the wait for an instance, and of a call of
	// connect, or of members for browsers, without it. Default: `10ms`.
	MessageTimeout caddy.Duration `json:"message_timeout,omitempty"`

	// The maximum time of any other call of members, or of shape, including the wait, and of the
	// wait of connect. Default: `250ms`.
	ShapeTimeout caddy.Duration `json:"shape_timeout,omitempty"`
}

// spec returns the specification that the plugin is loaded by, with placeholders replaced.
func (c *PluginConfig) spec() (plugins.Spec, error) {
	s := plugins.Spec{
		Name:   c.Name,
		SHA256: c.SHA256,
		Shared: c.Shared,
		Limits: plugins.Limits{
			Memory: c.Memory, File: c.File, Document: c.Document, Instances: c.Instances,
			InitBudget: c.InitBudget, ClassifyBudget: c.ClassifyBudget,
			MembersBudget: c.MembersBudget, ShapeBudget: c.ShapeBudget,
			ConnectBudget: c.ConnectBudget, MessageBudget: c.MessageBudget, KV: c.KV,
			ClassifyTimeout: time.Duration(c.ClassifyTimeout), MessageTimeout: time.Duration(c.MessageTimeout),
			ShapeTimeout: time.Duration(c.ShapeTimeout),
		},
	}
	var err error
	if s.Path, err = resolve("path", c.Path); err != nil {
		return s, fmt.Errorf("the path of the file is missing: %w", err)
	}
	s.Path = absolute(s.Path)
	onFailure := c.OnFailure
	var r resolver
	r.text("name", &s.Name)
	r.text("on_failure", &onFailure)
	r.text("sha256", &s.SHA256)
	if r.err != nil {
		return s, r.err
	}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(s.Path), ".wasm")
	} else if !validName(s.Name) {
		return s, fmt.Errorf("name %q: use 1 to 64 letters, digits, '.', '-' and '_'", s.Name)
	}
	if onFailure != "" {
		if s.OnFailure, err = plugins.ParsePolicy(onFailure); err != nil {
			return s, fmt.Errorf("on_failure: %w", err)
		}
	}
	if s.SHA256 != "" {
		s.SHA256 = strings.ToLower(s.SHA256)
		if hash, err := hex.DecodeString(s.SHA256); err != nil || len(hash) != sha256.Size {
			return s, errors.New("sha256 is not a hash of 64 hexadecimal digits: make one with sha256sum")
		}
		if c.Watch {
			return s, errors.New("sha256 and watch contradict each other: a changed file has another hash, so leave one out")
		}
	}
	if c.Shared && c.KV != 0 {
		return s, errors.New("shared and kv contradict each other: what is stored belongs to one host, so leave one out")
	}
	if c.Grants {
		s.CheckGrants = token.CheckGrants
	}
	if err := s.Limits.Validate(); err != nil {
		return s, err
	}
	s.Config, err = replaceTexts(c.Config)
	return s, err
}

// UnmarshalCaddyfile sets up the plugin from Caddyfile tokens. Syntax:
//
//	plugin <file> {
//	    name <name>
//	    config {
//	        <word> [<text>...]
//	        <word> {
//	            ...
//	        }
//	    }
//	    on_failure deny | pass
//	    sha256     <hash>
//	    watch
//	    shared
//	    grants
//	    kv               <size>
//	    memory           <size>
//	    file             <size>
//	    document         <size>
//	    instances        <number>
//	    init_budget      <steps>
//	    classify_budget  <steps>
//	    members_budget   <steps>
//	    connect_budget   <steps>
//	    message_budget   <steps>
//	    shape_budget     <steps>
//	    classify_timeout <duration>
//	    message_timeout  <duration>
//	    shape_timeout    <duration>
//	}
func (c *PluginConfig) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := firstArgument(d, &c.Path); err != nil {
		return err
	}
	return block(d, options{
		"name":             one(&c.Name),
		"config":           func(d *caddyfile.Dispenser) error { return unmarshalConfig(d, &c.Config) },
		"on_failure":       one(&c.OnFailure),
		"sha256":           one(&c.SHA256),
		"watch":            alone(&c.Watch),
		"shared":           alone(&c.Shared),
		"grants":           alone(&c.Grants),
		"kv":               size(&c.KV),
		"memory":           size(&c.Memory),
		"file":             size(&c.File),
		"document":         size(&c.Document),
		"instances":        number(&c.Instances),
		"init_budget":      steps(&c.InitBudget),
		"classify_budget":  steps(&c.ClassifyBudget),
		"members_budget":   steps(&c.MembersBudget),
		"connect_budget":   steps(&c.ConnectBudget),
		"message_budget":   steps(&c.MessageBudget),
		"shape_budget":     steps(&c.ShapeBudget),
		"classify_timeout": timeout(&c.ClassifyTimeout),
		"message_timeout":  timeout(&c.MessageTimeout),
		"shape_timeout":    timeout(&c.ShapeTimeout),
	})
}

// loadPlugins loads the plugins of the handler's site. It returns nil if there are none.
func (h *Handler) loadPlugins(ctx context.Context) (*pluginhost.Set, error) {
	if len(h.Plugins) == 0 {
		return nil, nil
	}
	specs := make([]pluginhost.Spec, len(h.Plugins))
	names := make(map[string]bool)
	for i, c := range h.Plugins {
		if c == nil {
			return nil, errors.New("plugins: null is not a plugin")
		}
		spec, err := c.spec()
		if err == nil {
			spec.Name, err = uniqueName(names, spec.Name, c.Name != "")
		}
		if err != nil {
			return nil, fmt.Errorf("plugin %q: %w", absolute(c.Path), err)
		}
		spec.Serves = h.serves
		specs[i] = pluginhost.Spec{Spec: spec, Watched: c.Watch}
		if c.Grants {
			h.rollcall.Site.Granting = append(h.rollcall.Site.Granting, spec.Name)
		}
	}
	return h.app.hub.Plugins.Load(ctx, h.app.PluginMemory, specs, h.rollcall.Site.Logger)
}

// serves reports whether the handler's site serves a host. Unless its configuration is in effect,
// it may serve any.
func (h *Handler) serves(host string) bool {
	now := h.app.hub.InEffect()
	if now == nil || now.Retired != &h.app.stopped {
		return true
	}
	name, err := presence.ParseHostName(host)
	return err == nil && now.Find(name) == h.made
}

// uniqueName returns a name that no other plugin of the site has, because metrics and logs identify
// plugins by it. A chosen name is not changed.
func uniqueName(names map[string]bool, name string, chosen bool) (string, error) {
	unique := name
	for i := 2; names[unique]; i++ {
		if chosen {
			return "", fmt.Errorf("name %q belongs to another plugin of this site: choose another", name)
		}
		unique = name + "-" + strconv.Itoa(i)
	}
	names[unique] = true
	return unique, nil
}
