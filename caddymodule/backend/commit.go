package backend

import (
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxCommit is the number of messages after which a transaction takes no further addition.
	maxCommit = 2000

	// removalDelay is how long delivered messages may stay on disk if nothing is added: each commit
	// waits for the disk.
	removalDelay = 100 * time.Millisecond

	// maxRemovals is the number of pending removals at which deliveries wait.
	maxRemovals = 20_000

	// commitRetry is the pause after a failed commit.
	commitRetry = time.Second
)

// addition is a group of messages, with a caller that waits until all or none of them are on disk.
type addition struct {
	queue   *queue
	entries []entry
	marks   []entry    // of lanes, in place of entries
	purge   *removal   // in place of entries
	done    chan error // capacity 1
}

// entry is a message in its stored form.
type entry struct {
	channel, number uint64
	record          []byte
}

// removal is a batch to delete: delivered or discarded.
type removal struct {
	queue   *queue
	lane    *lane // nil if no attempt has ended
	channel uint64
	mark
	gone []gone // messages that the transaction has deleted
}

// gone is a deleted message.
type gone struct {
	number uint64
	size   int // size of the record in bytes
}

// committer writes concurrent additions and removals in one transaction, because each transaction
// waits for the disk.
type committer struct {
	store  store
	failed func(error) // called after each failed commit
	wake   chan struct{}

	// mu guards the fields below.
	mu       sync.Mutex
	room     *sync.Cond // signals room for more removals
	last     uint64     // number of the last message
	adds     []*addition
	removals []removal
	stopping bool // remove no longer waits
	closing  bool // add returns ErrClosed
}

func newCommitter(s store, last uint64, failed func(error)) *committer {
	c := &committer{store: s, failed: failed, wake: make(chan struct{}, 1), last: last}
	c.room = sync.NewCond(&c.mu)
	return c
}

// add writes messages, and returns when they are on disk. It numbers them: numbers rise in the
// order of the calls, and are close to the time in nanoseconds.
func (c *committer) add(q *queue, entries []entry) error {
	a := &addition{queue: q, entries: entries, done: make(chan error, 1)}
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return ErrClosed
	}
	now := uint64(time.Now().UnixNano())
	for i := range entries {
		c.last = max(c.last+1, now)
		entries[i].number = c.last
	}
	c.adds = append(c.adds, a)
	c.mu.Unlock()
	c.signal()
	return <-a.done
}

// seal writes the mark of a batch, and returns when it is on disk.
func (c *committer) seal(q *queue, channel uint64, m mark) error {
	return c.wait(&addition{queue: q, marks: []entry{{channel: channel, record: m.encode()}}})
}

// purge deletes the messages of a lane that are on disk, and returns their number.
func (c *committer) purge(q *queue, channel uint64) (int, error) {
	r := &removal{queue: q, channel: channel}
	if err := c.wait(&addition{queue: q, purge: r}); err != nil {
		return 0, err
	}
	return len(r.gone), nil
}

// wait returns when an addition is on disk.
func (c *committer) wait(a *addition) error {
	a.done = make(chan error, 1)
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return ErrClosed
	}
	if a.purge != nil {
		a.purge.mark = mark{1, c.last}
	}
	c.adds = append(c.adds, a)
	c.mu.Unlock()
	c.signal()
	return <-a.done
}

// remove schedules the removal of a batch.
func (c *committer) remove(r removal) {
	c.mu.Lock()
	for len(c.removals) >= maxRemovals && !c.stopping {
		c.room.Wait()
	}
	c.removals = append(c.removals, r)
	c.mu.Unlock()
	c.signal()
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // a wake-up is already pending
	}
}

// stop releases the callers of remove that wait for room.
func (c *committer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.room.Broadcast()
}

// close makes run end after a last commit.
func (c *committer) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.signal()
}

// run commits until close. It is a goroutine of the [Courier].
func (c *committer) run() {
	var late <-chan time.Time // fires when removals are to be committed without additions
	for {
		due := false
		select {
		case <-c.wake:
		case <-late:
			late, due = nil, true
		}
		c.mu.Lock()
		closing, adds, removals := c.closing, len(c.adds), len(c.removals)
		c.mu.Unlock()
		switch {
		case closing:
			c.commit()
			return
		case adds > 0 || due || removals >= maxRemovals/2:
			late = nil
			if !c.commit() {
				late = time.After(commitRetry)
			}
		case removals > 0 && late == nil:
			late = time.After(removalDelay)
		}
	}
}

// commit writes everything that is pending. It returns false if removals could not be written; they
// stay pending.
func (c *committer) commit() bool {
	removing := true
	for {
		if !c.gather() {
			return removing
		}
		adds, removals := c.popPending(removing)
		if len(adds)+len(removals) == 0 {
			return removing
		}
		if !removing { // see batch
			adds = slices.DeleteFunc(adds, func(a *addition) bool {
				if a.marks != nil {
					a.done <- errRemovals
				}
				return a.marks != nil
			})
		}
		err := c.store.Update(func(tx *bbolt.Tx) error { return c.write(tx, adds, removals) })
		if err != nil && len(removals) > 0 && len(adds) > 0 {
			// A full disk may still have room for removals alone.
			c.complete(adds, nil, err)
			adds = nil
			err = c.store.Update(func(tx *bbolt.Tx) error { return c.write(tx, nil, removals) })
		}
		c.complete(adds, removals, err)
		removing = removing && err == nil
	}
}

// gather waits for more changes, if the content allows that. It returns false if there are none.
func (c *committer) gather() bool {
	c.mu.Lock()
	pending, closing := len(c.adds)+len(c.removals) > 0, c.closing
	c.mu.Unlock()
	if pending && !closing {
		time.Sleep(c.store.kind.gather)
	}
	return pending
}

// popPending returns the content of the next transaction.
func (c *committer) popPending(removing bool) (adds []*addition, removals []removal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, messages := 0, 0
	for n < len(c.adds) && messages < maxCommit {
		messages += len(c.adds[n].entries)
		n++
	}
	adds, c.adds = slices.Clone(c.adds[:n]), c.adds[n:]
	if len(c.adds) == 0 {
		c.adds = nil
	}
	if removing {
		removals, c.removals = c.removals, nil
	}
	return adds, removals
}

// errRemovals is returned for a mark that would be written before the removals of earlier batches.
var errRemovals = errors.New("delivered messages could not be removed")

// complete reports the result of a transaction to all callers. Failed removals are pending again,
// before later ones.
func (c *committer) complete(adds []*addition, removals []removal, err error) {
	if err != nil {
		c.failed(err)
	}
	for _, a := range adds {
		switch {
		case err != nil:
		case a.purge != nil:
			a.queue.removed(a.purge)
		case a.marks == nil:
			a.queue.added(a.entries)
		}
		a.done <- err
	}
	if len(removals) == 0 {
		return
	}
	if err == nil {
		for i := range removals {
			removals[i].queue.removed(&removals[i])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.removals = append(removals, c.removals...)
		return
	}
	c.room.Broadcast()
}
