package caddymodule

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	rollcall [<matcher>] {
//	    prefix  <path>
//	    api_key <key>... | off
//	    api_from <range>...
//	    origins <origin>...
//	    user    <id> [<email>]
//	    ping    <interval> [<timeout>]
//	    grace   <duration> | off
//	    jwt {
//	        key         <secret or PEM file>
//	        jwks        <URL>
//	        algorithms  <name>...
//	        issuer      <name>
//	        audience    <name>
//	        id_claim    <claim>
//	        email_claim <claim>
//	        cookie      <name>
//	    }
//	    channels {
//	        authenticated <pattern>...
//	        anonymous     <pattern>...
//	        default       authenticated | anonymous
//	    }
//	    plugin <file> {
//	        ...
//	    }
//	    backend <URL> {
//	        ...
//	    }
//	    limits {
//	        channels_per_connection <number>
//	        channels_per_host       <number>
//	        channel_name            <bytes>
//	        frame                   <size>
//	        queue                   <size>
//	        connections_per_host    <number>
//	        connections_per_address <number>
//	        frames_per_second       <number>
//	    }
//	}
//
// There may be several plugin blocks. [PluginConfig.UnmarshalCaddyfile] has their syntax, and
// [Backend.UnmarshalCaddyfile] that of a backend.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	return block(d, options{
		"prefix":   one(&h.Prefix),
		"api_key":  several(&h.APIKey),
		"api_from": several(&h.APIFrom),
		"origins":  several(&h.Origins),
		"user": func(d *caddyfile.Dispenser) error {
			h.User = new(UserPlaceholders)
			return oneOrTwo(d, &h.User.ID, &h.User.Email)
		},
		"ping": func(d *caddyfile.Dispenser) error {
			var interval, timeout string
			if err := oneOrTwo(d, &interval, &timeout); err != nil {
				return err
			}
			h.Ping = new(Ping)
			if err := duration(d, interval, &h.Ping.Interval); err != nil || timeout == "" {
				return err
			}
			return duration(d, timeout, &h.Ping.Timeout)
		},
		"grace":    h.unmarshalGrace,
		"jwt":      h.unmarshalJWT,
		"channels": h.unmarshalChannels,
		"plugin": func(d *caddyfile.Dispenser) error {
			c := new(PluginConfig)
			h.Plugins = append(h.Plugins, c)
			return c.UnmarshalCaddyfile(d)
		},
		"backend": func(d *caddyfile.Dispenser) error {
			h.Backend = new(Backend)
			return h.Backend.UnmarshalCaddyfile(d)
		},
		"limits": h.unmarshalLimits,
	}, "plugin")
}

func (h *Handler) unmarshalGrace(d *caddyfile.Dispenser) error {
	var text string
	if err := one(&text)(d); err != nil {
		return err
	}
	h.Grace = new(caddy.Duration)
	if text == "off" {
		return nil
	}
	v, err := caddy.ParseDuration(text)
	if err != nil || v < 0 {
		return d.Errf("%q is not a duration like 3s, or off", text)
	}
	*h.Grace = caddy.Duration(v)
	return nil
}

func (h *Handler) unmarshalJWT(d *caddyfile.Dispenser) error {
	h.JWT = new(JWT)
	return block(d, options{
		"key":         one(&h.JWT.Key),
		"jwks":        one(&h.JWT.JWKS),
		"algorithms":  several(&h.JWT.Algorithms),
		"issuer":      one(&h.JWT.Issuer),
		"audience":    one(&h.JWT.Audience),
		"id_claim":    one(&h.JWT.IDClaim),
		"email_claim": one(&h.JWT.EmailClaim),
		"cookie":      one(&h.JWT.Cookie),
	})
}

func (h *Handler) unmarshalChannels(d *caddyfile.Dispenser) error {
	h.Channels = new(Channels)
	return block(d, options{
		"authenticated": several(&h.Channels.Authenticated),
		"anonymous":     several(&h.Channels.Anonymous),
		"default":       one(&h.Channels.Default),
	})
}

func (h *Handler) unmarshalLimits(d *caddyfile.Dispenser) error {
	l := new(Limits)
	h.Limits = l
	return block(d, options{
		"channels_per_connection": number(&l.ChannelsPerConnection),
		"channels_per_host":       number(&l.ChannelsPerHost),
		"channel_name":            number(&l.ChannelName),
		"frame":                   size(&l.Frame),
		"queue":                   size(&l.Queue),
		"connections_per_host":    number(&l.ConnectionsPerHost),
		"connections_per_address": number(&l.ConnectionsPerAddress),
		"frames_per_second":       number(&l.FramesPerSecond),
	})
}

// parseGlobalOption sets up the app from the global option of the same name. Syntax:
//
//	rollcall {
//	    data_center   <name>
//	    pod           <name>
//	    drain_timeout <duration>
//	    plugin_memory <size>
//	    cluster {
//	        ...
//	    }
//	}
//
// unmarshalCluster has the syntax of the inner block.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // the option's name
	if existing != nil {
		return nil, d.Err("rollcall is configured already: write one block")
	}
	app := new(App)
	err := block(d, options{
		"data_center":   one(&app.DataCenter),
		"pod":           one(&app.Pod),
		"drain_timeout": timeout(&app.DrainTimeout),
		"plugin_memory": sizeUpTo(&app.PluginMemory, maxPluginMemory, "1TiB like 1GiB"),
		"cluster":       app.unmarshalCluster,
	})
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "rollcall", Value: caddyconfig.JSON(app, nil)}, nil
}

// options are the subdirectives of a block, each with what reads its arguments.
type options map[string]func(*caddyfile.Dispenser) error

// block reads the block that belongs to the current token. Each subdirective stands at most once, for of two, one would
// be lost without a word, but those that repeatable names.
func block(d *caddyfile.Dispenser, allowed options, repeatable ...string) error {
	if err := noArgument(d, "write options in a block, each on a line of its own"); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read := allowed[name]
		if read == nil {
			return d.Errf("unknown subdirective %q: use one of %s", name, strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s is there already: write it once", name)
		}
		seen[name] = true
		empty := hasEmptyArg(*d)
		if err := read(d); err != nil {
			return err
		}
		if empty && name != "user" { // an empty id is an anonymous request
			return d.Errf("%s has an empty argument: is its environment variable set?", name)
		}
	}
	return nil
}

// hasEmptyArg reports whether an argument of the current line is empty, as "{$NAME}" is when the variable is not set.
func hasEmptyArg(d caddyfile.Dispenser) bool { return slices.Contains(d.RemainingArgs(), "") }

// noArgument refuses an argument after the current token.
func noArgument(d *caddyfile.Dispenser, instead string) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("unexpected argument %q after %s: %s", d.Val(), name, instead)
	}
	return nil
}

// arguments reads the arguments of an option, which takes at most that many. Errors show none: one may be a secret.
func arguments(d *caddyfile.Dispenser, most int) ([]string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return nil, missingArgument(d)
	case len(args) > most:
		return nil, d.Errf("%s has %d arguments, and takes %d at most: remove some, or put quotes around a text with spaces",
			name, len(args), most)
	}
	return args, nil
}

// missingArgument is the error for an option without an argument. A variable that is not set leaves none of {$NAME}.
func missingArgument(d *caddyfile.Dispenser) error {
	return d.Errf("%s has no argument: write one, or set its environment variable", d.Val())
}

// firstArgument reads the argument of an option that has a block too, or may have.
func firstArgument(d *caddyfile.Dispenser, to *string) error {
	if !d.NextArg() {
		return missingArgument(d)
	}
	*to = d.Val()
	return nil
}

func one(to *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		args, err := arguments(d, 1)
		if err != nil {
			return err
		}
		*to = args[0]
		return noBlock(d)
	}
}

func oneOrTwo(d *caddyfile.Dispenser, first, second *string) error {
	args, err := arguments(d, 2)
	if err != nil {
		return err
	}
	*first = args[0]
	if len(args) == 2 {
		*second = args[1]
	}
	return noBlock(d)
}

func several(to *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		args, err := arguments(d, math.MaxInt)
		if err != nil {
			return err
		}
		*to = args
		return noBlock(d)
	}
}

func number(to *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return d.Errf("%q is not a number from 1", text)
		}
		*to = n
		return nil
	}
}

func size(to *int64) func(*caddyfile.Dispenser) error {
	return sizeUpTo(to, 1<<30, "1GiB like 64KiB")
}

// sizeUpTo reads a number of bytes; hint names the largest and gives an example.
func sizeUpTo(to *int64, most uint64, hint string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		n, err := humanize.ParseBytes(text)
		if err != nil || n < 1 || n > most {
			return d.Errf("%q is not a size up to %s", text, hint)
		}
		*to = int64(n)
		return nil
	}
}

func timeout(to *caddy.Duration) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := one(&text)(d); err != nil {
			return err
		}
		return duration(d, text, to)
	}
}

func duration(d *caddyfile.Dispenser, text string, to *caddy.Duration) error {
	v, err := caddy.ParseDuration(text)
	if err != nil || v <= 0 {
		return d.Errf("%q is not a duration like 25s", text)
	}
	*to = caddy.Duration(v)
	return nil
}

func noBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("unexpected block at %q", d.Val())
	}
	return nil
}
