package backend

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"
)

// Content is what a [Courier] delivers.
type Content int

// Contents.
const (
	Copies Content = iota // copies of messages, one in each request
	Events                // events about presence, many in each request
)

const (
	// maxBatch is the maximum number of events in a request.
	maxBatch = 100

	// maxBatchBytes is the size at which a request takes no further event. One event can be larger.
	maxBatchBytes = 256 << 10

	// eventsGather delays events, and nobody else: one sync serves all shards, and requests have
	// more events.
	eventsGather = 20 * time.Millisecond

	// eventsFill is close to 1, because the events of a shard are added in the order of their keys.
	eventsFill = 0.9
)

// kind has the differences between contents.
type kind struct {
	file, root string // name of the file; its bucket, whose name changes with the layout
	batch      int    // maximum number of records in a request
	purges     bool   // messages for an endpoint that is removed are thrown away

	// gather is how long a transaction waits for further changes; 0 if somebody waits for it.
	gather time.Duration

	// fill is the part of a page that is used when it is split.
	fill float64

	words words
}

// words are log messages.
type words struct{ waits, again, stuck, givenUp, full, disk, damaged, closing, refused string }

var kinds = map[Content]*kind{
	Copies: {file: "copies.db", root: "copies-1", batch: 1, fill: bbolt.DefaultFillPercent, words: words{
		waits:   "backend does not take copies, they wait",
		again:   "backend takes copies again",
		stuck:   "copy not delivered, trying on",
		givenUp: "copy given up",
		full:    "queue for a backend is full: messages are refused",
		disk:    "the file of waiting copies cannot be used",
		damaged: "the file of waiting copies was damaged and is set aside: what was in it is not delivered",
		closing: "closing the file of waiting copies",
		refused: "copies for backends are refused",
	}},
	Events: {file: "events.db", root: "events-1", batch: maxBatch, purges: true, gather: eventsGather, fill: eventsFill, words: words{
		waits:   "receiver does not accept events, they stay queued",
		again:   "receiver accepts events again",
		stuck:   "events not delivered, still retrying",
		givenUp: "events given up, a new epoch follows",
		full:    "queue for a receiver is full: events are dropped, a new epoch follows",
		disk:    "the file of queued events cannot be used",
		damaged: "the file of queued events was damaged and is set aside: what was in it is not delivered",
		closing: "closing the file of queued events",
		refused: "events cannot be queued",
	}},
}

// body returns the body of a request with these records.
func (k *kind) body(bodies [][]byte) []byte {
	if k.batch == 1 {
		return bodies[0]
	}
	all := append([]byte(`{"events":[`), bytes.Join(bodies, []byte{','})...)
	return append(all, "]}"...)
}
