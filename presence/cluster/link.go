package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/oftenlog"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// transport carries payloads: a *bus.Bus, or a simulated network in tests.
type transport interface {
	Publish(subject string, payload []byte) error
	Subscribe(subject string, take func(payload []byte)) (cancel func(), err error)
}

// link sends messages over the transport as one pod, and counts received payloads that are not
// used.
type link struct {
	bus    transport
	codec  *message.Codec
	prefix string // prefix of all subjects
	self   peer
	logger *zap.Logger
	// standing is set before the first subscription, see SetStanding.
	standing func(p peer, seq uint64, since time.Time) (alive, old bool)

	seq atomic.Uint64 // number of the last payload

	mu       sync.Mutex
	received map[*received]struct{} // subscriptions, for forget; guarded by mu

	counts counts

	unsent     atomic.Uint64
	complained oftenlog.Limit // limits the log lines about sending
}

// complainEvery is the minimum time between log lines about one kind of trouble.
const complainEvery = 10 * time.Second

func newLink(tr transport, name, secret string, self peer, logger *zap.Logger) *link {
	return &link{
		bus:      tr,
		codec:    message.NewCodec(secret),
		prefix:   name,
		self:     self,
		logger:   logger,
		standing: func(peer, uint64, time.Time) (alive, old bool) { return true, false },

		received: make(map[*received]struct{}),
	}
}

// Self returns this pod.
func (l *link) Self() peer { return l.self }

// Seq returns the number of the last payload that this pod has sent.
func (l *link) Seq() uint64 { return l.seq.Load() }

// Unsent returns how many payloads the bus did not accept.
func (l *link) Unsent() uint64 { return l.unsent.Load() }

// SetStanding sets the function that reports whether a pod is alive, and whether its payload with a
// number was published before a time. Without it, every pod is alive and no payload is old. It must
// be called before the first subscription.
func (l *link) SetStanding(f func(p peer, seq uint64, since time.Time) (alive, old bool)) {
	l.standing = f
}

// CheckNames returns an error if the name of the pod or of its data center cannot be sent.
func (l *link) CheckNames() error {
	_, err := l.codec.Append(nil, l.all(), l.self.sender(), &message.Goodbye{})
	if err != nil {
		return fmt.Errorf("data center %q, pod %q: %w", l.self.dc, l.self.pod, err)
	}
	return nil
}

// send publishes a message, and reports whether the bus accepted it. Receivers detect messages that
// are lost.
func (l *link) send(subject string, m message.Message) bool {
	from := l.self.sender()
	from.Seq = l.seq.Add(1)
	payload, err := l.codec.Append(nil, subject, from, m)
	if err == nil {
		err = l.bus.Publish(subject, payload)
	}
	if err == nil {
		return true
	}
	l.unsent.Add(1)
	if _, ok := l.complained.Allow(complainEvery); ok {
		l.logger.Error("cannot send to other pods", zap.Error(err), zap.Uint64("failed", l.unsent.Load()))
	}
	return false
}

// subscribe calls take with the messages of other pods that are alive, one at a time and in order
// of arrival. It drops payloads that are repeated, later than the order allows, or published before
// the subscription. Heartbeats and goodbyes of all pods are passed on, including this pod's, and
// probes of all other pods.
//
// It returns an error if the bus is closed. The subscription then receives nothing.
func (l *link) subscribe(subject string, o order, take func(from peer, m message.Message)) (*received, error) {
	in := &received{link: l, order: o, since: time.Now()}
	cancel, err := l.bus.Subscribe(subject, func(payload []byte) {
		from, m, ok := l.decode(subject, payload, in)
		if ok {
			take(from, m)
		}
	})
	if in.cancel = cancel; err != nil {
		in.cancel = func() {}
		return in, err
	}
	if o != unordered {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.received[in] = struct{}{}
	}
	return in, nil
}

func (l *link) decode(subject string, payload []byte, in *received) (from peer, m message.Message, ok bool) {
	sender, m, err := l.codec.Decode(subject, payload)
	if err != nil {
		l.reject(err)
		return peer{}, nil, false
	}
	from = peerOf(sender)
	switch m.(type) {
	case *message.Heartbeat, *message.Goodbye:
		return from, m, true
	}
	if from == l.self {
		// A pod receives what it sends to all, but it never sends to itself.
		if subject == l.inbox(l.self) || subject == l.assignedOf(l.self) {
			l.counts.forged.Add(1)
		}
		return peer{}, nil, false
	}
	alive, fresh := in.accept(from, sender.Seq)
	_, probe := m.(*message.Probe)
	switch {
	case !alive && probe:
		return from, m, true
	case !alive:
		l.counts.unknown.Add(1)
	case !fresh:
		l.counts.repeated.Add(1)
	}
	return from, m, alive && fresh
}

// forget drops the windows of a pod that has left.
func (l *link) forget(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for in := range l.received {
		in.mu.Lock()
		delete(in.windows, p)
		in.mu.Unlock()
	}
}
