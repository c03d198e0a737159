// Package site is one site's rules, ready to serve: who may log in and how, which origins and keys are allowed, and what
// channels are. It knows nothing of requests for other sites, and nothing of how it was configured.
package site

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Settings tells sites apart by what they configure: a hash of it.
type Settings [sha256.Size]byte

// Site is what one site's configuration comes to. A reload makes another; what changes without one are plugins whose files
// are watched, and with them the rules. The fields are set before anybody uses the site.
type Site struct {
	Settings   Settings
	DataCenter string       // the name of the data center of this process
	Clustered  bool         // the configuration asks for a cluster
	Retired    *atomic.Bool // the configuration has been taken back; all sites of one share it
	Logger     *zap.Logger
	Keys       Keys
	Origins    []origin                               // of other pages that may open websockets
	User       func(*http.Request) (id, email string) // of a handler before this one; "" for none
	Verifier   *token.Verifier                        // nil: the site takes no tokens
	Cookie     string                                 // that holds a token, "" for none
	Limits     Limits
	Ping       Pings
	Patterns   presence.Patterns
	Bounds     presence.Rules    // the limits that presence keeps
	Backend    *backend.Endpoint // nil: messages are not copied
	Chain      *plugins.Chain    // nil without plugins

	LargeBodies    atomic.Int32                   // of requests that are being read, for package api
	WithoutBackend sync.Once                      // guards the warning that there is none
	rules          atomic.Pointer[presence.Rules] // see Rules
}

// Limits are the limits that presence does not keep.
type Limits struct {
	Frame           int64   // bytes
	Queue           int     // bytes
	FramesPerSecond float64 // on average
	Channels        int     // of a connection
	PerAddress      int     // connections of a client address; 0 for any number
}

// Burst is how many frames may come at once: a client that reconnects joins all its channels again.
func (l *Limits) Burst() float64 {
	return max(2*l.FramesPerSecond, l.FramesPerSecond+float64(l.Channels))
}

// Pings are how often clients are asked for a sign of life, and after which silence they are gone.
type Pings struct{ Interval, Timeout time.Duration }
