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

// MaxHosts is how many hosts may have messages that wait.
const MaxHosts = 1024

// Why a message is not taken.
var (
	// ErrNoEndpoint is returned for a host that has no backend.
	ErrNoEndpoint = errors.New("the host has no backend")

	// ErrFull is returned when the queue of the host has no room, or too many hosts have one.
	ErrFull = errors.New("the queue for the backend is full")

	// ErrDisk is returned when the message could not be written.
	ErrDisk = errors.New("the queue for the backend cannot be written")

	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the queue for the backend is closed")
)

// Config is what a courier needs. All exported fields are required.
type Config struct {
	Folder    string // where the file is; it is made if it is not there. One process at a time can have it
	Endpoints Endpoints
	Observer  Observer
	Logger    *zap.Logger

	transport http.RoundTripper // of a test, nil for the real one
}

// Courier copies messages to the backends of hosts.
type Courier struct {
	store     store
	committer *committer
	endpoints Endpoints
	observer  Observer
	logger    *zap.Logger
	client    *http.Client
	stopping  chan struct{}      // closed when no attempt may begin
	ctx       context.Context    // of all attempts
	cut       context.CancelFunc // ends it
	committed chan struct{}      // closed when the committer has ended

	complaints

	// life guards the counting of goroutines against those who wait for them. No other lock is taken while it is held.
	life    sync.Mutex
	stopped bool
	running sync.WaitGroup

	// mu guards queues. The lock of a queue may be taken while it is held.
	mu     sync.Mutex
	queues map[presence.HostName]*queue
}

// Open opens the file in the folder and begins to deliver what is in it.
//
// It returns [ErrLocked] when another process has the file. A damaged file is renamed and logged, and a new one takes its
// place.
func Open(cfg Config) (*Courier, error) {
	s, renamed, err := openStore(cfg.Folder)
	if err != nil {
		return nil, err
	}
	c := &Courier{
		store: s, endpoints: cfg.Endpoints, observer: cfg.Observer, logger: cfg.Logger,
		client: newClient(cfg.transport), stopping: make(chan struct{}), committed: make(chan struct{}),
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

// Add takes messages for the backend of a host, all or none of them. When it returns nil, they are on disk and will be
// delivered, each after those that were added before it for the same channel.
//
// It returns [ErrNoEndpoint], [ErrFull], [ErrDisk] or [ErrClosed], each of which may be wrapped, and another error for a
// message that is no JSON.
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
		id := newID()
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

// reserve makes room in the queue of a host.
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

// queue returns the queue of a host, a new one if need be. The lock is held, or nobody else knows the courier.
func (c *Courier) queue(host presence.HostName) *queue {
	q := c.queues[host]
	if q == nil {
		q = newQueue(c, host)
		c.queues[host] = q
	}
	return q
}

// forget removes a queue that has nothing in it.
func (c *Courier) forget(q *queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 && !q.running && q.busy == 0 && c.queues[q.host] == q {
		delete(c.queues, q.host)
	}
}

// Refresh is called when endpoints have changed: what waits is tried at once.
func (c *Courier) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.queues {
		q.refresh()
	}
}

// Waiting is what waits for the backend of a host.
type Waiting struct {
	Messages int
	Bytes    int64
	Oldest   time.Time // when the oldest was added, to 10 s
}

// Waiting calls for each host with messages that wait. The function must not call the courier.
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

// begin counts a goroutine in. It returns false when none may begin any more.
func (c *Courier) begin() bool {
	c.life.Lock()
	defer c.life.Unlock()
	if !c.stopped {
		c.running.Add(1)
	}
	return !c.stopped
}

func (c *Courier) end() { c.running.Done() }

// Close begins no more attempts, waits for those under way until ctx is done, cuts those that are left, and closes the
// file. What is not delivered is in it.
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
