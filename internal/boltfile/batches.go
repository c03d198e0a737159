package boltfile

import "sync"

// Batches writes values in batches, one at a time: calls of Write that come during a write share
// the next one. The embedded mutex is held during a write. The zero value is ready for use.
type Batches[T any] struct {
	sync.Mutex

	mu    sync.Mutex
	next  []T          // values of the next batch; guarded by mu
	write func() error // writes the next batch; nil if nobody waits for it; guarded by mu
}

// Write calls write with the given values and those of other calls, and returns its error to all.
func (b *Batches[T]) Write(write func(values []T) error, values ...T) error {
	b.mu.Lock()
	b.next = append(b.next, values...)
	if b.write == nil {
		b.write = sync.OnceValue(func() error {
			b.Lock()
			defer b.Unlock()
			b.mu.Lock()
			values := b.next
			b.next, b.write = nil, nil
			b.mu.Unlock()
			return write(values)
		})
	}
	once := b.write
	b.mu.Unlock()
	return once()
}

// Waiting returns the number of values that wait to be written.
func (b *Batches[T]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.next)
}
