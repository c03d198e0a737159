package backend

import (
	"net/http"
	"time"
)

// Writer writes requests with events in another form than Standard Webhooks. It is immutable.
type Writer interface {
	// Batch is the maximum number of events in a request, at most 100. It never changes for a
	// stream.
	Batch() int
	// Body returns the body of a request. The last of its events was queued at a time. The same
	// events have the same body, because a request is repeated as it was.
	Body(events [][]byte, queued time.Time) []byte
	// Sign sets the headers that sign a body.
	Sign(header http.Header, body []byte)
}

// batchLimit returns the maximum number of messages in a request to an endpoint.
func (k *kind) batchLimit(to *Endpoint) int {
	if to.Writer != nil {
		return min(to.Writer.Batch(), k.batch)
	}
	return k.batch
}

// write returns the body of a request with a batch.
func (k *kind) write(to *Endpoint, b batch) []byte {
	if to.Writer != nil {
		return to.Writer.Body(b.bodies, time.Unix(0, int64(b.last))) // see committer.add
	}
	return k.body(b.bodies)
}

// mayGiveUp reports whether a batch may be given up after a failure: at once after some refusals,
// unless the endpoint has patience, and after any failure when it is older than what the endpoint
// keeps.
func (to *Endpoint) mayGiveUp(b batch, refused bool, now time.Time) (why Reason, ok bool) {
	age := now.Sub(time.Unix(0, int64(b.first)))
	switch {
	case refused && age >= to.Patience:
		return ReasonRefused, true
	case to.Keep > 0 && age >= to.Keep:
		return ReasonExpired, true
	}
	return "", false
}
