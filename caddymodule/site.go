package caddymodule

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/token"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// site is what one handler's configuration comes to, or that of several handlers with the same settings. A reload makes another; what changes without one are plugins whose
// files are watched, and with them the rules.
type site struct {
	app      *App
	settings settings
	doors    []*door // to the hosts that it serves; under app.mu until the configuration starts
	logger   *zap.Logger
	keys     apiKeys
	origins  []origin
	user     UserPlaceholders
	verifier *token.Verifier // nil: the site takes no tokens
	cookie   string          // that holds a token, "" for none
	limits   siteLimits
	ping     pings
	patterns presence.Patterns
	bounds   presence.Rules    // the limits that presence keeps
	backend  *backend.Endpoint // nil: messages are not copied
	lacks    sync.Once         // guards the warning that there is no backend
	engine   *engineUse        // nil without plugins
	plugins  []*sitePlugin
	chain    *plugins.Chain                 // of plugins; nil without any
	now      atomic.Pointer[presence.Rules] // see rules
}

// siteLimits are the limits that presence does not keep.
type siteLimits struct {
	frame           int64
	queue           int
	framesPerSecond float64
	channels        int
	perAddress      int // connections of a client address; 0 for any number
}

// burst is how many frames may come at once: a client that reconnects joins all its channels again.
func (l *siteLimits) burst() float64 {
	return max(2*l.framesPerSecond, l.framesPerSecond+float64(l.channels))
}

type pings struct{ interval, timeout time.Duration }
