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

	"github.com/rollcall-gateway/rollcall/presence"
)

// MaxHosts is the maximum number of hosts with queued messages.
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

// Config configures a courier. All exported fields are required.
type Config struct {
	Folder    string // folder of the file; created if missing. It belongs to one process at a time
	Endpoints Endpoints
	Observer  Observer
	Logger    *zap.Logger

	transport http.RoundTripper // for tests; if nil, HTTP over the network
}

// Courier copies messages to the backends of hosts.
type Courier struct {
	store     store
	committer *committer
	endpoints Endpoints
	observer  Observer
	logger    *zap.Logger
	client    *http.Client
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
	queues map[presence.HostName]*queue
}

// Open opens the file in the folder and starts to deliver its messages.
//
// It returns [ErrLocked] if another process has the file. A damaged file is renamed and logged, and
// a new one replaces it.
func Open(cfg Config) (*Courier, error) {
	s, renamed, err := openStore(cfg.Folder)
	if err != nil {
		return nil, err
	}
	c := &Courier{
		store: s, endpoints: cfg.Endpoints, observer: cfg.Observer, logger: cfg.Logger,
		client: NewClient(cfg.transport), stopping: make(chan struct{}), committed: make(chan struct{}),
		queues: make(map[presence.HostName]*queue),
	}
	if renamed != "" {
		c.logger.Error("the file of waiting copies was damaged and is set aside: what was in it is not delivered",
			zap.String("file", renamed))
	}
	var last uint64
	err = s.each(func(host presence.HostName, _, number uint64, size int) {
		c.queue(host).load(number, size)
		last = max(last, number)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the file of waiting copies: %w", err), s.Close())
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
	to := c.endpoints.Endpoint(host)
	if to == nil {
		return ErrNoEndpoint
	}
	if len(messages) == 0 {
		return nil
	}
	entries := make([]entry, len(messages))
	for i, m := range messages {
		id := NewID()
		body, err := m.encode(id, host)
		if err != nil {
			return err
		}
		entries[i] = entry{channel: xxhash.Sum64String(m.Channel), record: encodeRecord(id, body)}
	}
	q, err := c.reserve(host, entries, to.Queue)
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
	c.notTaken(host, ReasonDisk, len(entries))
	return fmt.Errorf("%w: %w", ErrDisk, err)
}

// reserve reserves room in the queue of a host.
func (c *Courier) reserve(host presence.HostName, entries []entry, limit int64) (*queue, error) {
	c.mu.Lock()
	q := c.queues[host]
	why := ReasonHosts
	if q != nil || len(c.queues) < MaxHosts {
		q = c.queue(host)
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
	c.notTaken(host, why, len(entries))
	c.complain(&c.full, "queue for a backend is full: messages are refused",
		zap.Stringer("host", host), zap.String("reason", string(why)), zap.Int64("limit", limit))
	return nil, ErrFull
}

func (c *Courier) notTaken(host presence.HostName, why Reason, n int) {
	for range n {
		c.observer.NotTaken(host, why)
	}
}

// queue returns the queue of a host, creating it if necessary. c.mu is held, except in Open.
func (c *Courier) queue(host presence.HostName) *queue {
	q := c.queues[host]
	if q == nil {
		q = newQueue(c, host)
		c.queues[host] = q
	}
	return q
}

// forget removes an empty queue.
func (c *Courier) forget(q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 && !q.running && q.busy == 0 && c.queues[q.host] == q {
		delete(c.queues, q.host)
	}
}

// Refresh is called after endpoints have changed: queued messages are tried at once.
func (c *Courier) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.queues {
		q.refresh()
	}
}

// Waiting counts the messages that are queued for the backend of a host.
type Waiting struct {
	Messages int
	Bytes    int64
	Oldest   time.Time // time at which the oldest was added, to 10 s
}

// Waiting calls visit for each host with queued messages. visit must not call the courier.
func (c *Courier) Waiting(visit func(host presence.HostName, w Waiting)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for host, q := range c.queues {
		q.mu.Lock()
		w := Waiting{Messages: q.count, Bytes: q.bytes, Oldest: q.ages.oldest()}
		q.mu.Unlock()
		visit(host, w)
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
		return fmt.Errorf("closing the file of waiting copies: %w", err)
	}
	return nil
}
