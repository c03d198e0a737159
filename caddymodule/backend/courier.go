package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
)

// MaxHosts is the maximum number of queues: hosts with queued messages or, for events, of pairs of
// a host and a receiver.
const MaxHosts = 1024

// Errors of [Courier.Add].
var (
	// ErrNoEndpoint is returned for a host without a backend.
	ErrNoEndpoint = errors.New("the host has no backend")

	// ErrFull is returned if the queue of the host is full, or if too many hosts have a queue.
	ErrFull = errors.New("the queue for the backend is full")

	// ErrDisk is returned if the message could not be written.
	ErrDisk = errors.New("the queue for the backend cannot be written")

	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the queue for the backend is closed")
)

// Config configures a courier. All exported fields but Lost are required.
type Config struct {
	Content   Content
	Folder    string // folder of the file; created if missing. It belongs to one process at a time
	Endpoints Endpoints
	Observer  Observer
	Logger    *zap.Logger

	// Lost is called, without a lock, when messages of a lane were discarded. It may be nil.
	Lost func(of Stream, lane uint64)

	// Tracer makes a span for each request. If nil, there are none.
	Tracer *tracing.Tracer

	transport http.RoundTripper // for tests; if nil, HTTP over the network
}

// Courier delivers messages to backends, or events to their receivers.
type Courier struct {
	kind      *kind
	store     store
	committer *committer
	lost      func(of Stream, lane uint64)
	endpoints Endpoints
	observer  Observer
	logger    *zap.Logger
	client    *http.Client
	tracer    *tracing.Tracer    // nil for no spans
	stopping  chan struct{}      // closed when no attempt may start
	ctx       context.Context    // context of all attempts
	cut       context.CancelFunc // cancels ctx
	committed chan struct{}      // closed when the committer has ended

	complaints

	// life guards the counting of goroutines against Close, which waits for them. No other lock is
	// acquired while it is held.
	life    sync.Mutex
	stopped bool
	running sync.WaitGroup

	// mu guards queues. The lock of a queue may be acquired while it is held.
	mu     sync.Mutex
	queues map[Stream]*queue
}

// Open opens the file in the folder and starts to deliver its messages.
//
// It returns [ErrLocked] if another process has the file. A damaged file is renamed and logged, and
// a new one replaces it.
func Open(cfg Config) (*Courier, error) {
	of := kinds[cfg.Content]
	s, renamed, err := openStore(cfg.Folder, of)
	if err != nil {
		return nil, err
	}
	c := &Courier{
		kind: of, store: s, lost: cfg.Lost, endpoints: cfg.Endpoints, observer: cfg.Observer, logger: cfg.Logger, tracer: cfg.Tracer,
		client: NewClient(cfg.transport), stopping: make(chan struct{}), committed: make(chan struct{}),
		queues: make(map[Stream]*queue),
	}
	if renamed != "" {
		c.logger.Error(of.words.damaged, zap.String("file", renamed))
	}
	var last uint64
	err = s.each(func(of Stream, channel, number uint64, size int) {
		c.queue(of).load(channel, number, size)
		last = max(last, number)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the file %s: %w", of.file, err), s.Close())
	}
	c.ctx, c.cut = context.WithCancel(context.Background())
	c.committer = newCommitter(s, last, c.diskFailed)
	go func() { // ends with Close
		defer close(c.committed)
		c.committer.run()
	}()
	c.Refresh()
	return c, nil
}

// Add queues messages for the backend of a host, all or none of them. When it returns nil, they are
// on disk and will be delivered, each after all earlier ones of its channel.
//
// It returns [ErrNoEndpoint], [ErrFull], [ErrDisk] or [ErrClosed], possibly wrapped, and another
// error for a message that is not JSON.
func (c *Courier) Add(host presence.HostName, messages ...Message) error {
	items := make([]Item, len(messages))
	for i, m := range messages {
		id := NewID()
		body, err := m.encode(id, host)
		if err != nil {
			return err
		}
		items[i] = Item{Lane: xxhash.Sum64String(m.Channel), ID: id, Body: body}
	}
	return c.Put(Stream{Host: host}, items...)
}

// Item is a message to queue.
type Item struct {
	Lane uint64 // messages of a lane are delivered in order
	ID   string // at most 255 bytes
	Body []byte // JSON that begins with the keys id, optionally type, and host
}

// Put is like Add for messages that are already encoded.
func (c *Courier) Put(of Stream, items ...Item) error {
	to := c.endpoints.Endpoint(of)
	if to == nil {
		return ErrNoEndpoint
	}
	if len(items) == 0 {
		return nil
	}
	entries := make([]entry, len(items))
	for i, item := range items {
		entries[i] = entry{channel: item.Lane, record: encodeRecord(item.ID, item.Body)}
	}
	q, err := c.reserve(of, entries, to.Queue)
	if err != nil {
		return err
	}
	err = c.committer.add(q, entries)
	if err == nil {
		return nil
	}
	q.release(entries)
	c.forget(q)
	if errors.Is(err, ErrClosed) {
		return err
	}
	c.observer.NotTaken(of, ReasonDisk, len(entries))
	return fmt.Errorf("%w: %w", ErrDisk, err)
}

// MayQueue reports whether a stream has a queue, or can get one.
func (c *Courier) MayQueue(of Stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queues[of] != nil || len(c.queues) < MaxHosts
}

// reserve reserves room in the queue of a stream.
func (c *Courier) reserve(of Stream, entries []entry, limit int64) (*queue, error) {
	c.mu.Lock()
	q := c.queues[of]
	why := ReasonHosts
	if q != nil || len(c.queues) < MaxHosts {
		q = c.queue(of)
		why = ReasonFull
		if q.reserve(entries, limit) {
			c.mu.Unlock()
			return q, nil
		}
	}
	c.mu.Unlock()
	if q != nil {
		c.forget(q)
	}
	c.observer.NotTaken(of, why, len(entries))
	c.complain(&c.full, c.kind.words.full,
		zap.Stringer("host", of.Host), zap.String("reason", string(why)), zap.Int64("limit", limit))
	return nil, ErrFull
}

// queue returns the queue of a stream, creating it if necessary. c.mu is held, except in Open.
func (c *Courier) queue(of Stream) *queue {
	q := c.queues[of]
	if q == nil {
		q = newQueue(c, of)
		c.queues[of] = q
	}
	return q
}

// forget removes an empty queue.
func (c *Courier) forget(q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 && !q.running && q.busy == 0 && c.queues[q.stream] == q {
		delete(c.queues, q.stream)
	}
}

// Refresh is called after endpoints have changed: queued messages are tried at once. Events for
// endpoints that are removed are thrown away.
func (c *Courier) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.queues {
		q.refresh()
	}
	if c.kind.purges && c.startTask() {
		go c.purgeRemoved() // ends with the writes
	}
}

// Waiting counts the messages that are queued in a stream.
type Waiting struct {
	Messages int
	Bytes    int64
	Oldest   time.Time // time at which the oldest was added, to 10 s
	Failure  Failure   // of the last attempt that failed; zero if none has
}

// Waiting calls visit for each stream with queued messages. visit must not call the courier.
func (c *Courier) Waiting(visit func(of Stream, w Waiting)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for of, q := range c.queues {
		q.mu.Lock()
		w := Waiting{Messages: q.count, Bytes: q.bytes, Oldest: q.ages.oldest(), Failure: q.lastFailure}
		q.mu.Unlock()
		visit(of, w)
	}
}

// startTask counts a new goroutine. It returns false if none may start.
func (c *Courier) startTask() bool {
	c.life.Lock()
	defer c.life.Unlock()
	if !c.stopped {
		c.running.Add(1)
	}
	return !c.stopped
}

func (c *Courier) endTask() { c.running.Done() }

// Close starts no more attempts, waits for pending ones until ctx is done, cancels the rest, and
// closes the file. Undelivered messages stay in it.
func (c *Courier) Close(ctx context.Context) error {
	c.life.Lock()
	again := c.stopped
	c.stopped = true
	c.life.Unlock()
	if again {
		return nil
	}
	close(c.stopping)
	c.committer.stop()
	defer context.AfterFunc(ctx, c.cut)()
	c.running.Wait()
	c.cut()
	c.committer.close()
	<-c.committed
	c.client.CloseIdleConnections()
	if err := c.store.Close(); err != nil {
		return fmt.Errorf("closing the file %s: %w", c.kind.file, err)
	}
	return nil
}
