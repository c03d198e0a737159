package rollcall

import (
	"errors"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/internal/json"
)

// Config is what Rollcall passes to a plugin once, before the first hook: where it runs, and the
// `config` block of the plugin in the Caddyfile. Options are read by name:
//
//	keep := c.String("keep", "domain")
//
// An option that has the wrong form, or that the plugin never reads, refuses the plugin with an
// error that names it. So read all of them, whatever their values.
type Config struct {
	// Host is the host of the instance, "" if the plugin block says shared.
	Host string
	// Plugin is the name of the plugin.
	Plugin string
	*Options
}

// Configure sets the function that reads the options. An error refuses the plugin: Caddy does not
// start or reload with it. A plugin without such a function has no options.
func Configure(f func(c *Config) error) {
	onConfigure = f
}

var onConfigure = func(*Config) error { return nil }

// ParseConfig parses the text that Rollcall sends, such as
// {"host":"a.example","plugin":"x","config":{"option":"value"}}. It is for tests of a plugin; see also [Config.Err].
func ParseConfig(text []byte) (*Config, error) {
	v, err := json.Parse(text)
	if err != nil {
		return nil, err
	}
	if v.Kind != json.Object {
		return nil, errors.New("config: want an object with host, plugin and config")
	}
	c := &Config{Host: v.Get("host").Text, Plugin: v.Get("plugin").Text}
	switch options := v.Get("config"); options.Kind {
	case json.Object:
		c.Options = &Options{value: options}
	case json.Missing, json.Null:
		c.Options = &Options{value: json.Value{Kind: json.Object, Raw: []byte("{}")}}
	default:
		return nil, errors.New("config: want an object")
	}
	return c, nil
}

// Err returns the first option that has the wrong form, or else one that was never read, or nil.
// Rollcall checks it after the function of [Configure].
func (c *Config) Err() error {
	return c.check("config")
}

// configure runs once, before the first hook.
func configure(text []byte) error {
	c, err := ParseConfig(text)
	if err != nil {
		return err
	}
	if err := onConfigure(c); err != nil {
		return err
	}
	return c.Err()
}
