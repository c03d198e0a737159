package caddymodule

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

// settings tells sites apart by what they configure: a hash of it.
type settings [sha256.Size]byte

// site is what one site's configuration comes to. A reload makes another; what changes without one are plugins whose files
// are watched, and with them the rules. The fields are set before anybody uses the site.
type site struct {
	settings   settings
	dataCenter string       // the name of the data center of this process
	clustered  bool         // the configuration asks for a cluster
	retired    *atomic.Bool // the configuration has been taken back; all sites of one share it
	logger     *zap.Logger
	keys       apiKeys
	origins    []origin                               // of other pages that may open websockets
	user       func(*http.Request) (id, email string) // of a handler before this one; "" for none
	verifier   *token.Verifier                        // nil: the site takes no tokens
	cookie     string                                 // that holds a token, "" for none
	limits     siteLimits
	ping       pings
	patterns   presence.Patterns
	bounds     presence.Rules    // the limits that presence keeps
	backend    *backend.Endpoint // nil: messages are not copied
	chain      *plugins.Chain    // nil without plugins

	withoutBackend sync.Once                      // guards the warning that there is none
	now            atomic.Pointer[presence.Rules] // see rules
}

// siteLimits are the limits that presence does not keep.
type siteLimits struct {
	frame           int64   // bytes
	queue           int     // bytes
	framesPerSecond float64 // on average
	channels        int     // of a connection
	perAddress      int     // connections of a client address; 0 for any number
}

// burst is how many frames may come at once: a client that reconnects joins all its channels again.
func (l *siteLimits) burst() float64 {
	return max(2*l.framesPerSecond, l.framesPerSecond+float64(l.channels))
}

// pings are how often clients are asked for a sign of life, and after which silence they are gone.
type pings struct{ interval, timeout time.Duration }
