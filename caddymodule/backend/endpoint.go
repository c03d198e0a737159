package backend

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Endpoint is the backend of a site. It does not change.
type Endpoint struct {
	URL     string        // absolute, of http or https
	Secrets []Secret      // at least one
	Timeout time.Duration // of an attempt
	Queue   int64         // bytes that may wait for it, for each host
}

// Endpoints knows the backends. It is asked often and must not block.
type Endpoints interface {
	// Endpoint returns the backend of a host, nil when it has none now.
	Endpoint(host presence.HostName) *Endpoint
}
