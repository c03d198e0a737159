package backend

import "time"

// Endpoint is the backend of a site, or a receiver of its events. It is immutable.
type Endpoint struct {
	URL     string        // absolute, with http or https
	Secrets []Secret      // at least one
	Timeout time.Duration // timeout of an attempt
	Queue   int64         // maximum size of each host's queue in bytes
}

// Endpoints looks up backends. It is called often and must not block.
type Endpoints interface {
	// Endpoint returns the backend of a stream; nil if it has none now.
	Endpoint(of Stream) *Endpoint
}
