package caddymodule

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/internal/secret"
)

// UserPlaceholders are the placeholders that have the user of a request that another handler has
// authenticated.
type UserPlaceholders struct {
	// The user's ID; an empty value is an anonymous request. Default: `{http.auth.user.id}`.
	ID string `json:"id,omitempty"`

	// The user's e-mail address. Default: `{http.auth.user.email}`.
	Email string `json:"email,omitempty"`

	// What else is known of the user: texts by name. An empty value is left out. Default: none.
	Info map[string]string `json:"info,omitempty"`
}

// JWT configures which JSON web tokens log a connection in: from the Authorization header, a
// cookie, or an `authenticate` frame. Exactly one of key and jwks is needed.
type JWT struct {
	// The HMAC secret, or a public key: PEM text, or the path of a file that ends in .pem, .crt,
	// .cer or .pub. Placeholders are allowed.
	Key string `json:"key,omitempty"`

	// The URL of a JSON web key set (RFC 7517). Keys are fetched from no other address.
	JWKS string `json:"jwks,omitempty"`

	// The accepted signature algorithms. Default: HS256 for a secret, those of the kind of key for
	// a public key, and RS256, ES256 and EdDSA for a key set.
	Algorithms []string `json:"algorithms,omitempty"`

	// The issuer that a token must have. `{http.request.host}` in it is the host that the user logs
	// in to. Default: any.
	Issuer string `json:"issuer,omitempty"`

	// The audiences of which a token must have one, as for the issuer. One alone can be written
	// without the array. Default: any.
	Audience Audience `json:"audience,omitempty"`

	// The claim with the user's ID. Default: `sub`.
	IDClaim string `json:"id_claim,omitempty"`

	// The claim with the user's e-mail address. Default: `email`.
	EmailClaim string `json:"email_claim,omitempty"`

	// The claim with what else is known of the user, an object of at most 2 KiB. Default: `info`.
	InfoClaim string `json:"info_claim,omitempty"`

	// The claim with the channels that the token grants: an array of patterns, or an object of
	// patterns and arrays of the permissions `join`, `send` and `see`. Default: `channels`.
	ChannelsClaim string `json:"channels_claim,omitempty"`

	// The cookie that holds a token. Default: none.
	Cookie string `json:"cookie,omitempty"`

	// How long revoked tokens are refused. Tokens should have a shorter life. Default: `24h`.
	Revocation caddy.Duration `json:"revocation,omitempty"`
}

// Limits of the option revocation.
const (
	defaultRevocation = 24 * time.Hour
	maxRevocation     = 366 * 24 * time.Hour
)

// revocation returns how long a revocation lasts.
func (j *JWT) revocation() (time.Duration, error) {
	switch d := time.Duration(j.Revocation); {
	case d == 0:
		return defaultRevocation, nil
	case d < 0 || d > maxRevocation:
		return 0, fmt.Errorf("jwt: revocation %s: use a duration up to %s", d, maxRevocation)
	default:
		return d, nil
	}
}

// Audience has audiences. In JSON, one alone is a text.
type Audience []string

// MarshalJSON implements json.Marshaler.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = make(Audience, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// readKey sets the key of c from the option.
func (j *JWT) readKey(c *token.Config) error {
	if j.Key == "" {
		return nil
	}
	key := j.Key
	if !strings.HasPrefix(key, "{") || secret.Public(key) == "" { // JSON has no placeholder
		var err error
		if key, err = resolveSecret("jwt: key", key); err != nil {
			return err
		}
	}
	return c.ReadKey(key)
}

// Members configures what clients see of each other.
type Members struct {
	// What is shown of a user beside the `id`: `email`, `info`, `status`, and keys that a plugin
	// adds. `id` alone shows nothing else. Default: `info` and `status`.
	Show []string `json:"show,omitempty"`

	// Members of a channel up to which clients see who they are. Above it, or if their list would
	// have more than 4 MiB, clients see only their number; they see names again below half of both.
	// Default: 10000.
	Names int `json:"names,omitempty"`
}

// names returns the largest number of members with names.
func (m *Members) names() int {
	if m == nil || m.Names == 0 {
		return 10_000
	}
	return m.Names
}

// show returns the shown keys without the ID.
func (m *Members) show() []string {
	if m == nil || len(m.Show) == 0 {
		return []string{"info", "status"}
	}
	return slices.DeleteFunc(slices.Clone(m.Show), func(key string) bool { return key == "id" })
}

// Ping configures how dead connections are found.
type Ping struct {
	// The time between pings. Default: `25s`.
	Interval caddy.Duration `json:"interval,omitempty"`

	// The silence after which a connection is closed, longer than the interval. Default: the
	// interval plus `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// Limits are the limits for the clients of a site.
type Limits struct {
	// Channels that a connection may listen to at once. Default: 128.
	ChannelsPerConnection int `json:"channels_per_connection,omitempty"`

	// Active channels of one host on this pod, without private channels. Default: 1000000.
	ChannelsPerHost int `json:"channels_per_host,omitempty"`

	// Bytes in a channel name, up to 4096. Default: 255.
	ChannelName int `json:"channel_name,omitempty"`

	// Bytes in a message from a client. Default: 65536 (64KiB).
	Frame int64 `json:"frame,omitempty"`

	// Bytes that may wait to be sent to a connection. With more, it is closed as too slow. Default:
	// 1048576 (1MiB).
	Queue int64 `json:"queue,omitempty"`

	// Connections to one host. Default: 100000.
	ConnectionsPerHost int `json:"connections_per_host,omitempty"`

	// Connections of one client address (for IPv6, of a /64) to all hosts of the site on this pod.
	// Default: no limit.
	ConnectionsPerAddress int `json:"connections_per_address,omitempty"`

	// Frames that a client may send per second, on average. In a burst, it may send as many as it
	// may have channels. Default: 50.
	FramesPerSecond int `json:"frames_per_second,omitempty"`
}

// setDefaults sets the limits that are not configured.
func (l *Limits) setDefaults() {
	for _, d := range []struct {
		limit *int
		value int
	}{
		{&l.ChannelsPerConnection, 128},
		{&l.ChannelsPerHost, 1_000_000},
		{&l.ChannelName, 255},
		{&l.ConnectionsPerHost, 100_000},
		{&l.FramesPerSecond, 50},
	} {
		if *d.limit == 0 {
			*d.limit = d.value
		}
	}
	if l.Frame == 0 {
		l.Frame = 64 << 10
	}
	if l.Queue == 0 {
		l.Queue = 1 << 20
	}
}

// absolute returns the absolute path of a file that an option names, for errors too: their reader
// does not know which folder Caddy runs in. An empty path stays empty, and so does a placeholder
// that is not resolved.
func absolute(path string) string {
	if path == "" || strings.HasPrefix(path, "{") {
		return path
	}
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
