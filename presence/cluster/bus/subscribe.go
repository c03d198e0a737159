package bus

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// subscription is a taker of the payloads of a subject.
type subscription struct {
	subject string
	take    func(payload []byte)
	ended   atomic.Bool
	taking  sync.Mutex            // held while take runs, because two connections can deliver at once
	on      [2]*nats.Subscription // by their place in Bus.on; Bus.mu guards it
}

// Subscribe has take called with each payload of the subject, one at a time and in the order of
// arrival. The payload is the taker's. What comes faster than it is taken is dropped and counted.
// While [Bus.Change] replaces the connection, a payload can come twice.
//
// The subscription outlives the loss of the connection. cancel ends it and drops what waits; a take
// that began before may still be running when cancel returns. Both cancel and [Bus.Close] may be
// called by take.
func (b *Bus) Subscribe(subject string, take func(payload []byte)) (cancel func(), err error) {
	s := &subscription{subject: subject, take: take}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.on {
		if err := b.subscribe(s, i); err != nil {
			b.unsubscribe(s)
			return nil, fmt.Errorf("subscribe: %w", plain(err))
		}
	}
	b.subs[s] = struct{}{}
	return func() {
		if s.ended.CompareAndSwap(false, true) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.unsubscribe(s)
		}
	}, nil
}

// subscribe subscribes on the connection at that place, if there is one. mu is held.
func (b *Bus) subscribe(s *subscription, i int) error {
	if b.on[i] == nil {
		return nil
	}
	c := b.on[i]
	sub, err := c.nc.Subscribe(s.subject, func(m *nats.Msg) {
		<-c.held
		s.deliver(m.Data)
	})
	if err != nil {
		return err
	}
	s.on[i] = sub
	return sub.SetPendingLimits(maxPendingMessages, maxPendingBytes)
}

// subscribeAll makes all subscriptions on a connection, which gets that place.
func (b *Bus) subscribeAll(c *conn, i int) error {
	b.mu.Lock()
	b.on[i] = c
	for s := range b.subs {
		if err := b.subscribe(s, i); err != nil {
			b.mu.Unlock()
			return fmt.Errorf("subscribe: %w", plain(err))
		}
	}
	b.mu.Unlock()
	_ = c.flush(flushTimeout) // without a connection, the subscriptions count from the next one on
	return nil
}

// unsubscribeAll ends all subscriptions on the connection at that place. A connection at a later
// place moves up.
func (b *Bus) unsubscribeAll(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		b.leave(s, i)
		copy(s.on[i:], s.on[i+1:])
		s.on[len(s.on)-1] = nil
	}
	copy(b.on[i:], b.on[i+1:])
	b.on[len(b.on)-1] = nil
}

func (s *subscription) deliver(payload []byte) {
	s.taking.Lock()
	defer s.taking.Unlock()
	if !s.ended.Load() {
		s.take(payload)
	}
}

// unsubscribe ends a subscription on all connections. mu is held.
func (b *Bus) unsubscribe(s *subscription) {
	delete(b.subs, s)
	for i := range s.on {
		b.leave(s, i)
	}
}

// leave ends a subscription on the connection at that place. mu is held.
func (b *Bus) leave(s *subscription, i int) {
	sub := s.on[i]
	if sub == nil {
		return
	}
	b.dropped += droppedBy(sub)
	_ = sub.Unsubscribe() // fails when the connection is closed, which ended the subscription
	s.on[i] = nil
}

// subscriptions counts those that have not ended.
func (b *Bus) subscriptions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// droppedPayloads counts over all subscriptions, those that ended too.
func (b *Bus) droppedPayloads() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.dropped
	for s := range b.subs {
		for _, sub := range s.on {
			if sub != nil {
				n += droppedBy(sub)
			}
		}
	}
	return n
}

func droppedBy(sub *nats.Subscription) uint64 {
	n, err := sub.Dropped()
	if err != nil || n < 0 { // the connection is closed
		return 0
	}
	return uint64(n)
}
