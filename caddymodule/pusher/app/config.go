package app

import (
	"crypto/subtle"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Limits of the protocol in bytes, except for MaxWatched.
const (
	MaxChannel = 200
	MaxEvent   = 200 // of an event's name
	MaxUserID  = 128
	MaxWatched = 100 // users of a watchlist
	// MinSecret is the length from which a secret is not too easy to guess.
	MinSecret = 16
)

// Config is the part of a site's configuration that is about the protocol. Begin with [Defaults].
type Config struct {
	Apps []App // each ID once

	// ClientEvents allows clients to trigger events.
	ClientEvents bool
	// ClientEventsPerSecond is the maximum of one connection. Default: 10.
	ClientEventsPerSecond float64
	// ActivityTimeout is the pause after which clients send a ping, in whole seconds. Default: 120
	// s.
	ActivityTimeout time.Duration
	// UserInfo is the maximum size of user_info in bytes of JSON, at most [presence.MaxInfo].
	// Default: 2048.
	UserInfo int
	// EventSize is the maximum size of an event's data in bytes. Default: 10 KiB.
	EventSize int
	// BatchSize is the maximum number of events of one batch. Default: 10.
	BatchSize int
	// CacheTTL is how long a cache channel keeps its last event. Default, and maximum: 30 minutes.
	CacheTTL time.Duration
	// PresenceMembers is the maximum number of members of a presence channel. 0: no limit.
	PresenceMembers int
	// SubscriptionCount sends the number of subscribers to the subscribers of a channel.
	SubscriptionCount bool
	// Watchlist notifies connections when users of their watchlists come and go.
	Watchlist bool
	// TLSOnly closes connections without TLS.
	TLSOnly bool
	// TerminateMembers closes connections that are only members as the user, too, when the backend
	// terminates the connections of a user.
	TerminateMembers bool
	// EmailField is the member of user_info that has the e-mail address. Default: email.
	EmailField string
	// Path is one more prefix of the paths of the protocol, such as /pusher; "" for none.
	Path string
}

// Defaults returns the configuration of a site that says nothing but its apps.
func Defaults() Config {
	return Config{
		ClientEventsPerSecond: 10,
		ActivityTimeout:       120 * time.Second,
		UserInfo:              presence.MaxInfo,
		EventSize:             10 << 10,
		BatchSize:             10,
		CacheTTL:              30 * time.Minute,
		EmailField:            "email",
	}
}

// App is one app: a tenant of the protocol.
type App struct {
	ID string
	// Host is the host that has the app's channels and users. If it is the zero value, it is the
	// host of the request.
	Host presence.HostName
	Keys []Key // at least one; the first signs webhooks
}

// Key is a key of an app and its secret. An app has several while they are rotated.
type Key struct {
	Key    string
	Secret []byte // never logged
}

// ByKey returns the app that has the key; nil if there is none. It takes as long for an unknown key
// as for a known one.
func (c *Config) ByKey(key string) *App {
	var found *App
	for i := range c.Apps {
		if a := &c.Apps[i]; a.key(key) != nil {
			found = a
		}
	}
	return found
}

// ByID returns the app with the ID; nil if there is none. It takes as long for an unknown ID as for
// a known one.
func (c *Config) ByID(id string) *App {
	var found *App
	for i := range c.Apps {
		if a := &c.Apps[i]; same(a.ID, id) {
			found = a
		}
	}
	return found
}

// key returns the app's key of that name; nil if there is none.
func (a *App) key(name string) *Key {
	var found *Key
	for i := range a.Keys {
		if k := &a.Keys[i]; same(k.Key, name) {
			found = k
		}
	}
	return found
}

// same compares two texts in constant time, for texts of one length.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// HostOf returns the host of the app for a request to asked.
func (a *App) HostOf(asked presence.HostName) presence.HostName {
	if a.Host == (presence.HostName{}) {
		return asked
	}
	return a.Host
}
