package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/rollcall-gateway/rollcall/caddymodule/command" // registers the commands
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(AdminAPI))
	httpcaddyfile.RegisterGlobalOption("rollcall", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("rollcall", parseDirective)
	// The directive comes after authentication, whose users it reads, and before the handlers that
	// would answer instead.
	httpcaddyfile.RegisterDirectiveOrder("rollcall", httpcaddyfile.Before, "respond")
}

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
//	    user    <id> [<email>] {
//	        <name> <value>
//	    }
//	    ping    <interval> [<timeout>]
//	    grace   <duration> | off
//	    jwt {
//	        key         <secret or PEM file>
//	        jwks        <URL>
//	        algorithms  <name>...
//	        issuer      <name>
//	        audience    <name...>
//	        id_claim    <claim>
//	        email_claim <claim>
//	        info_claim  <claim>
//	        channels_claim <claim>
//	        cookie      <name>
//	        revocation  <duration>
//	    }
//	    channels {
//	        own           <text>{id}...
//	        granted       <pattern>...
//	        authenticated <pattern>...
//	        anonymous     <pattern>...
//	        default       granted | authenticated | anonymous
//	        quiet         <pattern>...
//	    }
//	    members {
//	        show  <key>...
//	        names <number>
//	    }
//	    plugin <file> {
//	        ...
//	    }
//	    authorize <URL> {
//	        ...
//	    }
//	    backend <URL> {
//	        ...
//	    }
//	    events <URL> {
//	        ...
//	    }
//	    pusher {
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
// There may be several plugin and events blocks. [PluginConfig.UnmarshalCaddyfile],
// [Authorize.UnmarshalCaddyfile], [Backend.UnmarshalCaddyfile], [Events.UnmarshalCaddyfile] and
// [Pusher.UnmarshalCaddyfile] have the syntax of their blocks.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	return block(d, options{
		"prefix":   one(&h.Prefix),
		"api_key":  several(&h.APIKey),
		"api_from": several(&h.APIFrom),
		"origins":  several(&h.Origins),
		"user":     h.unmarshalUser,
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
		"members":  h.unmarshalMembers,
		"plugin": func(d *caddyfile.Dispenser) error {
			c := new(PluginConfig)
			h.Plugins = append(h.Plugins, c)
			return c.UnmarshalCaddyfile(d)
		},
		"authorize": func(d *caddyfile.Dispenser) error {
			h.Authorize = new(Authorize)
			return h.Authorize.UnmarshalCaddyfile(d)
		},
		"backend": func(d *caddyfile.Dispenser) error {
			h.Backend = new(Backend)
			return h.Backend.UnmarshalCaddyfile(d)
		},
		"events": func(d *caddyfile.Dispenser) error {
			e := new(Events)
			h.Events = append(h.Events, e)
			return e.UnmarshalCaddyfile(d)
		},
		"pusher": func(d *caddyfile.Dispenser) error {
			h.Pusher = new(Pusher)
			return h.Pusher.UnmarshalCaddyfile(d)
		},
		"limits": h.unmarshalLimits,
	}, "plugin", "events")
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

func (h *Handler) unmarshalUser(d *caddyfile.Dispenser) error {
	u := new(UserPlaceholders)
	h.User = u
	if err := oneOrTwoArguments(d, &u.ID, &u.Email); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if _, there := u.Info[name]; there {
			return d.Errf("%s is there already: write it once", name)
		}
		var value string
		if err := one(&value)(d); err != nil {
			return err
		}
		if u.Info == nil {
			u.Info = make(map[string]string)
		}
		u.Info[name] = value
	}
	return nil
}

func (h *Handler) unmarshalJWT(d *caddyfile.Dispenser) error {
	h.JWT = new(JWT)
	return block(d, options{
		"key":            one(&h.JWT.Key),
		"jwks":           one(&h.JWT.JWKS),
		"algorithms":     several(&h.JWT.Algorithms),
		"issuer":         one(&h.JWT.Issuer),
		"audience":       several((*[]string)(&h.JWT.Audience)),
		"id_claim":       one(&h.JWT.IDClaim),
		"email_claim":    one(&h.JWT.EmailClaim),
		"info_claim":     one(&h.JWT.InfoClaim),
		"channels_claim": one(&h.JWT.ChannelsClaim),
		"cookie":         one(&h.JWT.Cookie),
		"revocation":     timeout(&h.JWT.Revocation),
	})
}

func (h *Handler) unmarshalMembers(d *caddyfile.Dispenser) error {
	h.Members = new(Members)
	return block(d, options{
		"show":  several(&h.Members.Show),
		"names": number(&h.Members.Names),
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
