package backend

import "time"

// Endpoint is the backend of a site, or a receiver of its events. It is immutable.
type Endpoint struct {
	URL     string        // absolute, with http or https
	Secrets []Secret      // at least one, unless there is a Writer
	Timeout time.Duration // timeout of an attempt
	Queue   int64         // maximum size of each host's queue in bytes

	// Writer writes requests; if nil, they are signed with the secrets, as Standard Webhooks.
	Writer Writer
	// Patience is the age below which a message that is refused is not given up.
	Patience time.Duration
	// Keep is the age from which a message is given up after a failure; 0: never.
	Keep time.Duration
}

// Endpoints looks up backends. It is called often and must not block.
type Endpoints interface {
	// Endpoint returns the backend of a stream; nil if it has none now.
	Endpoint(of Stream) *Endpoint
}
