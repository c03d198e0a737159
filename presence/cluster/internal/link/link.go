// Package link sends and receives messages over the bus, as one pod.
//
// A [Link] knows the subjects, encodes and authenticates payloads, and numbers them. A
// [Subscription] decodes payloads and passes on those of live pods that are neither old nor
// repeated. The link does not know which pods are alive: package membership sets
// [Link.SetStanding].
//
// Link.mu guards the set of subscriptions, Subscription.mu the numbers that one has received.
// Link.mu is locked first. Subscription.mu is held while the standing of a pod is asked for.
package link

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Transport carries payloads: a *bus.Bus, or a simulated network in tests.
type Transport interface {
	Publish(subject string, payload []byte) error
	Subscribe(subject string, handle func(payload []byte)) (cancel func(), err error)
}

// Link sends messages over the transport as one pod, and counts received payloads that are not
// used.
type Link struct {
	bus    Transport
	codec  *message.Codec
	prefix string // prefix of all subjects
	self   Peer
	logger *zap.Logger
	// standing is set before the first subscription, see SetStanding.
	standing func(p Peer, seq uint64, since time.Time) (alive, old bool)

	seq atomic.Uint64 // number of the last payload

	mu            sync.Mutex
	subscriptions map[*Subscription]struct{} // subscriptions with windows, for Forget; guarded by mu

	bundles bundles

	Counts Counters // rooms that do not use a payload count it too

	unsent     atomic.Uint64
	complained oftenlog.Limit // limits the log lines about sending
}

// LogEvery is the minimum time between log lines about one kind of trouble.
const LogEvery = 10 * time.Second

// New returns the link of a pod of the deployment with that name. If secret is "", every client of
// the transport is trusted.
func New(tr Transport, name, secret string, self Peer, logger *zap.Logger) *Link {
	return &Link{
		bus:      tr,
		codec:    message.NewCodec(secret),
		prefix:   name,
		self:     self,
		logger:   logger,
		standing: func(Peer, uint64, time.Time) (alive, old bool) { return true, false },

		subscriptions: make(map[*Subscription]struct{}),
		bundles:       bundles{waiting: make(map[Peer]*bundle), above: bundleAbove},
	}
}

// Self returns this pod.
func (l *Link) Self() Peer { return l.self }

// Seq returns the number of the last payload that this pod has sent.
func (l *Link) Seq() uint64 { return l.seq.Load() }

// Unsent returns how many payloads the bus did not accept.
func (l *Link) Unsent() uint64 { return l.unsent.Load() }

// SetStanding sets the function that reports whether a pod is alive, and whether its payload with a
// number was published before a time. Without it, every pod is alive and no payload is old. It must
// be called before the first subscription.
func (l *Link) SetStanding(f func(p Peer, seq uint64, since time.Time) (alive, old bool)) {
	l.standing = f
}

// CheckNames returns an error if the name of the pod or of its data center cannot be sent.
func (l *Link) CheckNames() error {
	_, err := l.codec.Append(nil, l.All(), l.self.sender(), &message.Goodbye{})
	if err != nil {
		return fmt.Errorf("data center %q, pod %q: %w", l.self.DC, l.self.Pod, err)
	}
	return nil
}

// Send publishes a message, and reports whether the bus accepted it. Receivers detect messages that
// are lost.
func (l *Link) Send(subject string, m message.Message) bool {
	return l.publish(subject, func(from message.Sender) ([]byte, error) {
		return l.codec.Append(nil, subject, from, m)
	})
}

func (l *Link) publish(subject string, encode func(from message.Sender) ([]byte, error)) bool {
	from := l.self.sender()
	from.Seq = l.seq.Add(1)
	payload, err := encode(from)
	if err == nil {
		err = l.bus.Publish(subject, payload)
	}
	if err == nil {
		return true
	}
	l.unsent.Add(1)
	if _, ok := l.complained.Allow(LogEvery); ok {
		l.logger.Error("cannot send to other pods", zap.Error(err), zap.Uint64("failed", l.unsent.Load()))
	}
	return false
}

// Subscribe calls handle with the messages of other pods that are alive, one at a time and in order
// of arrival; those of a bundle too. It drops payloads that are repeated, later than the order
// allows, or published before the subscription. Heartbeats and goodbyes of all pods are passed on,
// including this pod's, and probes of all other pods.
//
// It returns an error if the bus is closed. The subscription then receives nothing.
func (l *Link) Subscribe(subject string, o Order, handle func(from Peer, m message.Message)) (*Subscription, error) {
	in := &Subscription{link: l, order: o, since: time.Now()}
	cancel, err := l.bus.Subscribe(subject, func(payload []byte) {
		from, m, ok := l.decode(subject, payload, in)
		if !ok {
			return
		}
		if b, ok := m.(*message.Bundle); ok {
			for _, m := range b.Messages {
				handle(from, m)
			}
			return
		}
		handle(from, m)
	})
	if in.cancel = cancel; err != nil {
		in.cancel = func() {}
		return in, err
	}
	if o != Unordered {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.subscriptions[in] = struct{}{}
	}
	return in, nil
}

func (l *Link) decode(subject string, payload []byte, in *Subscription) (from Peer, m message.Message, ok bool) {
	sender, m, err := l.codec.Decode(subject, payload)
	if err != nil {
		l.reject(err)
		return Peer{}, nil, false
	}
	from = peerOf(sender)
	switch m.(type) {
	case *message.Heartbeat, *message.Goodbye:
		return from, m, true
	}
	if from == l.self {
		// A pod receives what it sends to all, but it never sends to itself.
		if subject == l.Inbox(l.self) || subject == l.AssignmentsOf(l.self) {
			l.Counts.Forged.Add(1)
		}
		return Peer{}, nil, false
	}
	alive, fresh := in.accept(from, sender.Seq)
	_, probe := m.(*message.Probe)
	switch {
	case !alive && probe:
		return from, m, true
	case !alive:
		l.Counts.Unknown.Add(1)
	case !fresh:
		l.Counts.Repeated.Add(1)
	}
	return from, m, alive && fresh
}

// Forget drops the windows of a pod that has left.
func (l *Link) Forget(p Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for in := range l.subscriptions {
		in.mu.Lock()
		delete(in.windows, p)
		in.mu.Unlock()
	}
}
