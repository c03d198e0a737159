// Package site holds the rules of one site: who may log in and how, the allowed origins and API
// keys, and the rules of channels. It knows neither other sites nor the configuration format.
package site

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Settings is a hash of the configuration of a site. Sites with equal settings are the same site.
type Settings [sha256.Size]byte

// Site is one site, ready to serve. A reload creates another. Only watched plugins, and the rules
// that depend on them, change without a reload. The fields are set before the site is used.
type Site struct {
	Settings   Settings
	DataCenter string       // data center of this process
	Clustered  bool         // the configuration has a cluster
	Retired    *atomic.Bool // set when the configuration is taken back; shared by its sites
	Logger     *zap.Logger
	Keys       Keys
	Origins    []origin // other origins whose pages may open websockets
	// User returns the user that a preceding handler has authenticated, without an ID if there is
	// none, and an error for one that cannot be a user.
	User     func(*http.Request) (presence.User, error)
	Verifier *token.Verifier // nil if the site accepts no tokens
	// Revocation is how long a revocation of tokens lasts. Revocations has them; if nil, none is
	// revoked.
	Revocation  time.Duration
	Revocations Revocations
	Cookie      string // name of the cookie with a token; "" if none
	Limits      Limits
	Ping        Pings
	Show        []string // keys that clients see of each other, beside the ID
	Patterns    presence.Patterns
	Assigned    presence.Granter   // assignments; nil without any
	Bounds      presence.Rules     // limits that package presence enforces
	Backend     *backend.Endpoint  // nil if messages are not copied
	Events      []*events.Receiver // receivers of events
	Pusher      *app.Config        // apps of the Pusher protocol; nil without any
	Chain       *plugins.Chain     // nil without plugins
	Granting    []string           // names of the plugins whose blocks say grants

	// Webhooks are the receivers of hosts with an app; see [Site.Receivers].
	Webhooks Webhooks

	// EventsSum changes with the configuration of Events and Webhooks.
	EventsSum uint64

	// Authorize is the backend that is asked who may join, through Asker. Both are nil if none is.
	Authorize *authorize.Endpoint
	Asker     *authorize.Asker

	LargeBodies    atomic.Int32                   // request bodies over the normal limit that are being read; for package api
	badGrants      oftenlog.Limit                 // limits warnings about claims that grant nothing
	WithoutBackend sync.Once                      // guards the warning that there is no backend
	rules          atomic.Pointer[presence.Rules] // see Rules
}

// Limits are the limits that package presence does not enforce.
type Limits struct {
	Frame           int64   // bytes of a frame
	Queue           int     // bytes of queued frames
	FramesPerSecond float64 // average rate
	Channels        int     // channels of a connection
	PerAddress      int     // connections of a client address; 0: no limit
}

// Burst returns how many frames may arrive at once. A client that reconnects joins all its channels
// again.
func (l *Limits) Burst() float64 {
	return max(2*l.FramesPerSecond, l.FramesPerSecond+float64(l.Channels))
}

// Pings are the interval of pings, and the silence after which a connection is dead.
type Pings struct{ Interval, Timeout time.Duration }
