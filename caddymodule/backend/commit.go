package backend

import (
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// maxCommit is how many messages are added in one transaction, but for those that are added together.
	maxCommit = 2000

	// removalDelay is how long delivered messages may stay on disk when nothing is added: each commit waits for the disk.
	removalDelay = 100 * time.Millisecond

	// maxRemovals is how many may wait to be removed before deliveries do.
	maxRemovals = 20_000

	// commitRetry is the pause after a commit that failed.
	commitRetry = time.Second
)

// addition are messages that somebody waits for to be on disk, all or none of them.
type addition struct {
	queue   *queue
	entries []entry
	done    chan error // of one element
}

// entry is a message as it is stored.
type entry struct {
	channel, number uint64
	record          []byte
}

// removal is a message that is done with.
type removal struct {
	queue           *queue
	lane            *lane
	channel, number uint64
	size            int // of the record
}

// committer writes what many add and remove at the same time in one transaction, for each one waits for the disk.
type committer struct {
	store  store
	failed func(error) // told of each commit that failed
	wake   chan struct{}

	// mu guards what follows.
	mu       sync.Mutex
	room     *sync.Cond // more removals may wait
	last     uint64     // the number of the last message
	adds     []*addition
	removals []removal
	stopping bool // nobody waits to remove any more
	closing  bool // nothing is added any more
}

func newCommitter(s store, last uint64, failed func(error)) *committer {
	c := &committer{store: s, failed: failed, wake: make(chan struct{}, 1), last: last}
	c.room = sync.NewCond(&c.mu)
	return c
}

// add has messages written, and returns when they are on disk. It numbers them: numbers rise in the order of the calls,
// and are near to the time in nanoseconds.
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

// remove has a message removed, some time soon.
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
	default: // it will look anyway
	}
}

// stop lets those go on that wait to remove.
func (c *committer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.room.Broadcast()
}

// close has run end after a last commit.
func (c *committer) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.signal()
}

// run commits until close. It is a goroutine of the [Courier].
func (c *committer) run() {
	var late <-chan time.Time // when removals alone are committed
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

// commit writes all that waits. It returns false when removals could not be written, which wait on.
func (c *committer) commit() bool {
	removing := true
	for {
		adds, removals := c.take(removing)
		if len(adds)+len(removals) == 0 {
			return removing
		}
		err := c.store.Update(func(tx *bbolt.Tx) error { return write(tx, adds, removals) })
		if err != nil && len(removals) > 0 && len(adds) > 0 {
			// A disk that is full may have room for less.
			c.finish(adds, nil, err)
			adds = nil
			err = c.store.Update(func(tx *bbolt.Tx) error { return write(tx, nil, removals) })
		}
		c.finish(adds, removals, err)
		removing = removing && err == nil
	}
}

// take returns what is to be written in one transaction.
func (c *committer) take(removing bool) (adds []*addition, removals []removal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, messages := 0, 0
	for n < len(c.adds) && messages < maxCommit {
		messages += len(c.adds[n].entries)
		n++
	}
	adds, c.adds = c.adds[:n:n], c.adds[n:]
	if len(c.adds) == 0 {
		c.adds = nil
	}
	if removing {
		removals, c.removals = c.removals, nil
	}
	return adds, removals
}

// write is one transaction.
func write(tx *bbolt.Tx, adds []*addition, removals []removal) error {
	root := tx.Bucket(rootBucket)
	for _, a := range adds {
		b, err := root.CreateBucketIfNotExists([]byte(a.queue.host.String()))
		if err != nil {
			return err
		}
		for _, e := range a.entries {
			if err := b.Put(encodeKey(e.channel, e.number), e.record); err != nil {
				return err
			}
		}
	}
	touched := make(map[*queue]*bbolt.Bucket)
	for _, r := range removals {
		b := touched[r.queue]
		if b == nil {
			if b = root.Bucket([]byte(r.queue.host.String())); b == nil {
				continue
			}
			touched[r.queue] = b
		}
		if err := b.Delete(encodeKey(r.channel, r.number)); err != nil {
			return err
		}
	}
	for q, b := range touched {
		if k, _ := b.Cursor().First(); k == nil {
			if err := root.DeleteBucket([]byte(q.host.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish tells everybody how a transaction went. Removals that failed go back in front.
func (c *committer) finish(adds []*addition, removals []removal, err error) {
	if err != nil {
		c.failed(err)
	}
	for _, a := range adds {
		if err == nil {
			a.queue.added(a.entries)
		}
		a.done <- err
	}
	if len(removals) == 0 {
		return
	}
	if err == nil {
		for _, r := range removals {
			r.queue.removed(r)
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
