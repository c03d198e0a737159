package caddymodule

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// doorOptions are the options of a handler that belong to the door and not to the site.
var doorOptions = []string{"prefix", "api_from"}

// options returns the configuration of a handler, as JSON values.
func (h *Handler) options() map[string]any {
	var options map[string]any
	raw, err := json.Marshal(h) //nolint:gosec // it is hashed and compared, and never leaves the process
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err != nil || decoder.Decode(&options) != nil {
		return nil // a handler came as JSON, so it has a JSON form
	}
	for _, name := range doorOptions {
		delete(options, name)
	}
	return options
}

// siteOptions are the options of a handler without those of the door, which are empty here.
type siteOptions struct {
	*Handler

	Prefix  string   `json:"prefix,omitempty"`
	APIFrom []string `json:"api_from,omitempty"`
}

// newSettings returns the hash of the options: handlers with the same settings can be doors of one site.
func (h *Handler) newSettings() site.Settings {
	hash := sha256.New()
	var options any = siteOptions{Handler: h}
	if slices.ContainsFunc(h.Plugins, func(c *PluginConfig) bool { return c != nil && len(c.Config) > 0 }) {
		options = h.options() // with the keys of each config sorted
	}
	_ = json.NewEncoder(hash).Encode(options)
	return site.Settings(hash.Sum(nil))
}

// differing returns the names of the options that differ between two handlers, never their values.
func differing(a, b *Handler) []string { return differingKeys("", a.options(), b.options()) }

func differingKeys(prefix string, a, b map[string]any) []string {
	keys := make(map[string]bool)
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	var names []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		inA, ok := a[key].(map[string]any)
		inB, both := b[key].(map[string]any)
		switch {
		case reflect.DeepEqual(a[key], b[key]):
		case ok && both && prefix == "":
			names = append(names, differingKeys(key+".", inA, inB)...)
		default:
			names = append(names, prefix+key)
		}
	}
	return names
}
