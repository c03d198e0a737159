package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
)

// Pusher serves clients and server libraries of the Pusher protocol: at `/app/KEY` and `/apps/ID`,
// at the root of the site. They meet all others in the same channels.
type Pusher struct {
	// The apps. Several with the same ID are one app with several keys, so that keys can be
	// rotated; the first signs webhooks.
	Apps []*PusherApp `json:"apps,omitempty"`

	// Client events that a connection may send in a second, up to 1000. Default: 0, clients send
	// none.
	ClientEvents int `json:"client_events,omitempty"`

	// The pause after which clients send a ping, in whole seconds up to `1h`. Default: `2m`.
	ActivityTimeout caddy.Duration `json:"activity_timeout,omitempty"`

	// One more path below which the paths of the protocol are served, such as `/pusher`. Default:
	// none.
	Path string `json:"path,omitempty"`

	// The maximum size of `user_info` in bytes, up to 2048 (2KiB). Default: 2048.
	UserInfo int64 `json:"user_info,omitempty"`

	// The maximum size of the data of an event in bytes, up to 262144 (256KiB), the maximum size of
	// a message. Default: 10240 (10KiB).
	EventSize int64 `json:"event_size,omitempty"`

	// The events that one batch may have, up to 100. Default: 10.
	BatchSize int `json:"batch_size,omitempty"`

	// The time for which a cache channel keeps its last event, up to `30m`. Default: `30m`.
	CacheTTL caddy.Duration `json:"cache_ttl,omitempty"`

	// Members of one presence channel. Default: no limit.
	PresenceMembers int `json:"presence_members,omitempty"`

	// Whether subscribers hear how many they are. Default: false.
	SubscriptionCount bool `json:"subscription_count,omitempty"`

	// Whether a connection that has signed in hears when users of its watchlist come and go.
	// Default: false.
	Watchlist bool `json:"watchlist,omitempty"`

	// Whether connections without TLS are closed. Default: false.
	TLSOnly bool `json:"tls_only,omitempty"`

	// Which connections close when a backend terminates those of a user, in addition to the ones
	// that are signed in: `members` are those that are a member as the user. Default: none.
	Terminate string `json:"terminate,omitempty"`

	// How `private-` channels are listed: `count` as the number of their connections, or `users` by
	// those of their connections that have a user. Default: `count`.
	PrivateChannels string `json:"private_channels,omitempty"`

	// The member of `user_info` that has the e-mail address. Default: `email`.
	EmailField string `json:"email_field,omitempty"`

	// Receivers of webhooks: who comes and goes, and what clients send.
	Webhooks []*PusherWebhook `json:"webhooks,omitempty"`
}

// PusherApp is an app, or another key of one.
type PusherApp struct {
	// The ID, which backends write into paths. Placeholders are allowed.
	ID string `json:"id,omitempty"`

	// The key, which clients know. Placeholders are allowed.
	Key string `json:"key,omitempty"`

	// The secret that signs, with at least 16 bytes. Placeholders are allowed.
	Secret string `json:"secret,omitempty"`

	// The host that has the channels and users of the app: one of this site, or one that no other
	// site has. Placeholders are allowed. Default: the host of each request.
	Host string `json:"host,omitempty"`
}

// terminateMembers is the one value of the option terminate.
const terminateMembers = "members"

// UnmarshalCaddyfile sets up the block from Caddyfile tokens. Syntax:
//
//	pusher {
//	    app                <ID> <key> <secret> [<host>]
//	    client_events      [<number per second>]
//	    activity_timeout   <duration>
//	    path               <path>
//	    user_info          <size>
//	    event_size         <size>
//	    batch_size         <number>
//	    cache_ttl          <duration>
//	    presence_members   <number>
//	    subscription_count
//	    watchlist
//	    tls_only
//	    terminate          members
//	    private_channels   count | users
//	    email_field        <name>
//	    webhook            <URL> {
//	        ...
//	    }
//	}
//
// There may be several lines with app, and several blocks with webhook. See PusherWebhook.
func (p *Pusher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return block(d, options{
		"app":                p.unmarshalApp,
		"client_events":      p.unmarshalClientEvents,
		"activity_timeout":   timeout(&p.ActivityTimeout),
		"path":               one(&p.Path),
		"user_info":          sizeUpTo(&p.UserInfo, maxUserInfo, "2KiB like 1KiB"),
		"event_size":         sizeUpTo(&p.EventSize, maxEventSize, "256KiB like 10KiB"),
		"batch_size":         number(&p.BatchSize),
		"cache_ttl":          timeout(&p.CacheTTL),
		"presence_members":   number(&p.PresenceMembers),
		"subscription_count": alone(&p.SubscriptionCount),
		"watchlist":          alone(&p.Watchlist),
		"tls_only":           alone(&p.TLSOnly),
		"terminate":          one(&p.Terminate),
		"private_channels":   one(&p.PrivateChannels),
		"email_field":        one(&p.EmailField),
		"webhook":            p.unmarshalWebhook,
	}, "app", "webhook")
}

func (p *Pusher) unmarshalWebhook(d *caddyfile.Dispenser) error {
	w := new(PusherWebhook)
	p.Webhooks = append(p.Webhooks, w)
	return w.UnmarshalCaddyfile(d)
}

// unmarshalApp reads a line. No error shows an argument, because a line without the ID has a secret
// in the place of another argument.
func (p *Pusher) unmarshalApp(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 3 || len(args) > 4 {
		return d.Errf("app has %d arguments: write app ID KEY SECRET, and after that the host if it is not the one that is asked; "+
			"if an argument is a variable, is it set?", len(args))
	}
	a := &PusherApp{ID: args[0], Key: args[1], Secret: args[2]}
	if len(args) == 4 {
		a.Host = args[3]
	}
	p.Apps = append(p.Apps, a)
	return noBlock(d)
}

func (p *Pusher) unmarshalClientEvents(d *caddyfile.Dispenser) error {
	p.ClientEvents = int(app.Defaults().ClientEventsPerSecond)
	args := d.RemainingArgs()
	if len(args) > 1 {
		return d.Errf("client_events has %d arguments, and takes 1 at most: the client events of a connection in a second", len(args))
	}
	if len(args) == 1 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxClientEvents {
			return d.Errf("%q is not a number from 1 to %d: the client events of a connection in a second", args[0], maxClientEvents)
		}
		p.ClientEvents = n
	}
	return noBlock(d)
}

var _ caddyfile.Unmarshaler = (*Pusher)(nil)
